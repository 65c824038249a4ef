//! The scripted fake and the conformance kit that every Thinker passes.
