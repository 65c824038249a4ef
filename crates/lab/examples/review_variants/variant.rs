//! A kind of review, as it is named on the command line.

use std::{fmt, str::FromStr};

/// A kind of review. The documentation of the program describes the parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    /// The large model objects over this gap, in nats.
    pub(crate) gap: f32,
    /// Another gap, from this byte of the answer on.
    pub(crate) later: Option<(f32, u64)>,
    /// Judge every K-th piece; 1 is all.
    pub(crate) every: u32,
    /// The gap of the model between the two.
    pub(crate) middle: Option<f32>,
    /// The middle model asks the large one instead of correcting.
    pub(crate) escalate: bool,
}

impl Variant {
    /// Returns the large model's gap for a token at this byte of the answer.
    pub(crate) fn gap_at(&self, byte: u64) -> f32 {
        match self.later {
            Some((gap, from)) if byte >= from => gap,
            _ => self.gap,
        }
    }

    /// Returns the smallest gap of the large model anywhere.
    pub(crate) fn least_gap(&self) -> f32 {
        self.later.map_or(self.gap, |(gap, _)| gap.min(self.gap))
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut variant =
            Variant { gap: 1.0, later: None, every: 1, middle: None, escalate: false };
        let (mut later, mut from) = (None, None);
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let number = || value.parse::<f32>().map_err(|_| format!("{part}: not a number"));
            match key {
                "gap" => variant.gap = number()?,
                "later" => later = Some(number()?),
                "from" => from = Some(number()? as u64),
                "every" => variant.every = number()?.max(1.0) as u32,
                "middle" => variant.middle = Some(number()?),
                "escalate" => variant.escalate = true,
                _ => {
                    return Err(format!("{part}: use gap, later, from, every, middle or escalate"));
                }
            }
        }
        variant.later = later.zip(from);
        match (later, from, variant.escalate, variant.middle) {
            (Some(_), None, ..) | (None, Some(_), ..) => Err(format!("{text}: later needs from")),
            (.., true, None) => Err(format!("{text}: escalate needs middle")),
            _ => Ok(variant),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gap={}", self.gap)?;
        if let Some((gap, from)) = self.later {
            write!(f, ",later={gap},from={from}")?;
        }
        if self.every > 1 {
            write!(f, ",every={}", self.every)?;
        }
        if let Some(gap) = self.middle {
            write!(f, ",middle={gap}")?;
        }
        f.write_str(if self.escalate { ",escalate" } else { "" })
    }
}
