//! Parses expressions: sums, explicit and implicit products, powers, functions, fractions, matrices.
//!
//! What does not live here: anything with a comma or a relation at its top level.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Pow;

use super::Parser;
use crate::grade::{
    expr::{Expr, Func},
    lex::Tok,
};

/// The largest exponent after an "E" or "e".
const MAX_EXPONENT: u32 = 400;
/// The most digits of a number with a point or an exponent. The work grows with their square.
const MAX_DIGITS: usize = 2000;

/// Commands for letters.
const LETTERS: [&str; 36] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "varrho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
    "hbar",
];

impl Parser<'_> {
    /// Parses a sum.
    pub(super) fn expr(&mut self) -> Option<Expr> {
        self.nested(|parser| {
            let mut terms = vec![parser.product(false)?];
            loop {
                if parser.eat_op('+') {
                    terms.push(parser.product(false)?);
                } else if parser.eat_op('-') {
                    terms.push(parser.product(false)?.neg());
                } else {
                    break;
                }
            }
            if terms.len() == 1 { terms.pop() } else { sum(terms) }
        })
    }

    /// Parses factors with signs between them. The bare argument of a function stops before another function.
    fn product(&mut self, bare: bool) -> Option<Expr> {
        let mut left = self.signed(bare)?;
        loop {
            if self.eat_op('*') {
                left = left.mul(self.signed(bare)?);
            } else if self.eat_op('/') || self.eat_op(':') {
                self.wrap()?;
                left = left.div(self.signed(bare)?);
            } else {
                return Some(left);
            }
        }
    }

    fn signed(&mut self, bare: bool) -> Option<Expr> {
        let mut negative = false;
        loop {
            if self.eat_op('-') {
                negative = !negative;
            } else if !self.eat_op('+') {
                break;
            }
        }
        let value = self.side_by_side(bare)?;
        Some(if negative { value.neg() } else { value })
    }

    /// Parses factors without a sign between them. A whole number before a fraction is a mixed number.
    fn side_by_side(&mut self, bare: bool) -> Option<Expr> {
        let first = self.power()?;
        let first_is_number = matches!(self.tokens.get(self.at - 1), Some(Tok::Num(_)));
        let mut fractions = matches!(self.peek(), Some(Tok::Cmd(name)) if name == "frac");
        let mut factors = vec![first];
        while self.starts_factor() && !(bare && self.starts_function()) {
            let digits = matches!(self.peek(), Some(Tok::Num(_)));
            if digits && matches!(self.tokens.get(self.at - 1), Some(Tok::Num(_))) {
                // "1 1/2" is a mixed number, "1 2" is invalid.
                let slash = self.tokens.get(self.at + 1) == Some(&Tok::Op('/'));
                if !(slash && factors.len() == 1 && first_is_number) {
                    return None;
                }
                let above = self.atom()?;
                self.at += 1;
                factors.push(above.div(self.atom()?));
                fractions = true;
                break;
            }
            factors.push(self.power()?);
        }
        if let [whole, fraction] = factors.as_slice()
            && fractions
            && first_is_number
            && whole.whole().is_some()
            && fraction.is_positive_rational()
        {
            let mixed = sum(factors)?;
            // In "12 1/2%" the whole number is a percentage.
            return Some(if self.eat_op('%') { Expr::Percent(Box::new(mixed)) } else { mixed });
        }
        factors.into_iter().reduce(Expr::mul)
    }

    /// Parses a factor with its powers, factorials, degrees and percent signs.
    fn power(&mut self) -> Option<Expr> {
        let mut base = self.atom()?;
        loop {
            if self.eat_op('!') {
                self.wrap()?;
                base = Expr::Factorial(Box::new(base));
            } else if self.eat_op('%') {
                self.wrap()?;
                base = Expr::Percent(Box::new(base));
            } else if self.eat_cmd("circ") {
                // Degrees are not converted: in answers they are a unit.
            } else if self.eat_op('^') {
                if let Some(exponent) = self.exponent()? {
                    self.wrap()?;
                    base = Expr::Pow(Box::new(base), Box::new(exponent));
                }
            } else {
                return Some(base);
            }
        }
    }

    /// Parses what follows a caret. The inner `None` is the degree sign.
    fn exponent(&mut self) -> Option<Option<Expr>> {
        if self.eat_cmd("circ") {
            return Some(None);
        }
        if self.eat_op('{') {
            if self.eat_cmd("circ") {
                return self.eat_op('}').then_some(None);
            }
            let exponent = self.expr()?;
            return self.eat_op('}').then_some(Some(exponent));
        }
        if self.eat_op('(') {
            let exponent = self.expr()?;
            return self.eat_op(')').then_some(Some(exponent));
        }
        let negative = self.eat_op('-');
        let exponent = self.nested(Parser::atom)?;
        Some(Some(if negative { exponent.neg() } else { exponent }))
    }

    /// Returns whether a factor begins here.
    pub(super) fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Tok::Num(_) | Tok::Letter(_) | Tok::Word(_) | Tok::Begin(_)) => true,
            Some(Tok::Op('(' | '[' | '{')) => true,
            Some(Tok::Op('|')) => self.bars == 0,
            Some(Tok::Cmd(name)) => {
                let other =
                    ["frac", "sqrt", "binom", "pi", "infty", "lfloor", "lceil", "{", "boxed"];
                other.contains(&name.as_str())
                    || LETTERS.contains(&name.as_str())
                    || self.starts_function()
            }
            _ => false,
        }
    }

    fn starts_function(&self) -> bool {
        matches!(self.peek(), Some(Tok::Cmd(name))
            if function(name).is_some() || name == "log")
    }

    fn atom(&mut self) -> Option<Expr> {
        let token = self.peek()?;
        self.at += 1;
        match token {
            Tok::Num(text) => {
                // The base of a number is ignored: the question says which it is.
                self.subscript()?;
                decimal(text)
            }
            Tok::Letter('I') => Some(Expr::I),
            Tok::Letter('e') => Some(Expr::E),
            Tok::Letter(letter) => self.symbol(&letter.to_ascii_lowercase().to_string()),
            Tok::Word(word) => self.symbol(word),
            Tok::Op('(') => self.group(')'),
            Tok::Op('[') => self.group(']'),
            Tok::Op('{') => self.group('}'),
            Tok::Op('|') if self.bars == 0 => {
                self.bars += 1;
                let inner = self.expr()?;
                self.bars -= 1;
                self.eat_op('|').then(|| Expr::Func(Func::Abs, Box::new(inner)))
            }
            Tok::Begin(name) => self.nested(|parser| parser.matrix(name)),
            Tok::Cmd(name) => self.command(name),
            _ => None,
        }
    }

    fn group(&mut self, close: char) -> Option<Expr> {
        let bars = std::mem::take(&mut self.bars);
        let inner = self.expr()?;
        self.bars = bars;
        self.eat_op(close).then_some(inner)
    }

    fn command(&mut self, name: &str) -> Option<Expr> {
        match name {
            "pi" => Some(Expr::Pi),
            "infty" => Some(Expr::Infinity),
            "frac" => {
                let (above, below) = self.arguments()?;
                Some(above.div(below))
            }
            "binom" => {
                let (above, below) = self.arguments()?;
                Some(Expr::Binomial(Box::new(above), Box::new(below)))
            }
            "sqrt" => {
                let degree = if self.eat_op('[') { self.group(']')? } else { Expr::int(2) };
                let (inner, rest) = self.argument()?;
                let root = Expr::Pow(Box::new(inner), Box::new(Expr::int(1).div(degree)));
                // `\sqrt23` is the root of 2, times 3.
                Some(match rest {
                    Some(rest) => root.mul(decimal(&rest)?),
                    None => root,
                })
            }
            "lfloor" => self.closed("rfloor", Func::Floor),
            "lceil" => self.closed("rceil", Func::Ceil),
            "boxed" if self.eat_op('{') => self.group('}'),
            "{" => {
                let inner = self.expr()?;
                self.eat_cmd("}").then_some(inner)
            }
            "log" => {
                let base = self.log_base()?;
                self.called(|arg| Expr::Log { base: Box::new(base), arg: Box::new(arg) })
            }
            _ if LETTERS.contains(&name) => self.symbol(&name.to_lowercase()),
            _ => {
                let func = function(name)?;
                self.called(|arg| Expr::Func(func, Box::new(arg)))
            }
        }
    }

    fn closed(&mut self, close: &str, func: Func) -> Option<Expr> {
        let inner = self.expr()?;
        self.eat_cmd(close).then(|| Expr::Func(func, Box::new(inner)))
    }

    /// Parses a function's argument. A power before the argument applies to the whole.
    fn called(&mut self, make: impl FnOnce(Expr) -> Expr) -> Option<Expr> {
        let power = if self.eat_op('^') { self.exponent()? } else { None };
        let arg = if self.eat_op('(') {
            self.group(')')?
        } else {
            self.nested(|parser| parser.product(true))?
        };
        let value = make(arg);
        Some(match power {
            Some(power) => Expr::Pow(Box::new(value), Box::new(power)),
            None => value,
        })
    }

    fn log_base(&mut self) -> Option<Expr> {
        if !self.eat_op('_') {
            return Some(Expr::int(10));
        }
        if self.eat_op('{') {
            return self.group('}');
        }
        match self.peek()? {
            Tok::Num(_) | Tok::Letter(_) | Tok::Cmd(_) => self.nested(Parser::atom),
            _ => None,
        }
    }

    /// Parses the two arguments of a fraction, braced or single: `\frac{1}{2}`, `\frac12`, `\frac9{19}`.
    fn arguments(&mut self) -> Option<(Expr, Expr)> {
        let (above, rest) = self.argument()?;
        match rest {
            Some(rest) => Some((above, decimal(&rest)?)),
            None => {
                let (below, rest) = self.argument()?;
                match rest {
                    // More digits than the fraction takes. Nobody writes that on purpose.
                    Some(_) => None,
                    None => Some((above, below)),
                }
            }
        }
    }

    /// Parses one argument of a command. Also returns the digits of the same number that do not belong to it.
    fn argument(&mut self) -> Option<(Expr, Option<String>)> {
        if self.eat_op('{') {
            return Some((self.group('}')?, None));
        }
        if let Some(Tok::Num(text)) = self.peek() {
            self.at += 1;
            let (first, rest) = text.split_at_checked(1)?;
            return Some((decimal(first)?, (!rest.is_empty()).then(|| rest.to_owned())));
        }
        Some((self.nested(Parser::atom)?, None))
    }

    /// Parses a letter with its subscript, or a function of several arguments.
    fn symbol(&mut self, name: &str) -> Option<Expr> {
        let name = format!("{name}{}", self.subscript()?);
        let several = |token: &Tok| token == &Tok::Op(',');
        if self.peek() != Some(&Tok::Op('(')) || !self.bracket_holds(several) {
            return Some(Expr::Sym(name));
        }
        self.at += 1;
        let mut args = vec![self.expr()?];
        while self.eat_op(',') {
            args.push(self.expr()?);
        }
        self.eat_op(')').then_some(Expr::Apply(name, args))
    }

    /// Parses a subscript as text. Empty if there is none.
    fn subscript(&mut self) -> Option<String> {
        if !self.eat_op('_') {
            return Some(String::new());
        }
        if !self.eat_op('{') {
            let token = self.peek()?;
            self.at += 1;
            return Some(format!("_{}", token_text(token)?));
        }
        let mut text = String::from("_");
        while !self.eat_op('}') {
            text.push_str(&token_text(self.peek()?)?);
            self.at += 1;
        }
        Some(text)
    }

    fn matrix(&mut self, name: &str) -> Option<Expr> {
        if !matches!(name, "matrix" | "pmatrix" | "bmatrix" | "smallmatrix" | "array") {
            return None;
        }
        let mut rows = Vec::new();
        loop {
            let mut row = vec![self.expr()?];
            while self.eat_op('&') {
                row.push(self.expr()?);
            }
            rows.push(row);
            let more = self.eat_cmd("\\");
            if matches!(self.peek(), Some(Tok::End(end)) if end == name) {
                self.at += 1;
                return Some(Expr::Matrix(rows));
            }
            if !more {
                return None;
            }
        }
    }
}

/// Returns a sum. Two numbers without a point are added directly, so that a mixed number is a number.
fn sum(terms: Vec<Expr>) -> Option<Expr> {
    if let [a, b] = terms.as_slice()
        && let (Expr::Num { value: a, decimal: false }, Expr::Num { value: b, decimal: false }) =
            (a, b)
    {
        return Some(Expr::Num { value: a + b, decimal: false });
    }
    Some(Expr::Add(terms))
}

fn token_text(token: &Tok) -> Option<String> {
    match token {
        Tok::Num(text) | Tok::Word(text) | Tok::Cmd(text) => Some(text.clone()),
        Tok::Letter(letter) => Some(letter.to_ascii_lowercase().to_string()),
        Tok::Op('}') => None,
        Tok::Op(op) => Some(op.to_string()),
        Tok::Begin(_) | Tok::End(_) => None,
    }
}

fn function(name: &str) -> Option<Func> {
    Some(match name {
        "sin" => Func::Sin,
        "cos" => Func::Cos,
        "tan" => Func::Tan,
        "cot" => Func::Cot,
        "sec" => Func::Sec,
        "csc" => Func::Csc,
        "asin" => Func::Asin,
        "acos" => Func::Acos,
        "atan" => Func::Atan,
        "sinh" => Func::Sinh,
        "cosh" => Func::Cosh,
        "tanh" => Func::Tanh,
        "exp" => Func::Exp,
        "ln" => Func::Ln,
        _ => return None,
    })
}

/// Parses a number as written. Whole numbers may have any length; numbers with a point or exponent may not.
fn decimal(text: &str) -> Option<Expr> {
    let (digits, exponent) = match text.split_once(['E', 'e']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    if digits.len() == text.len() && !digits.contains('.') {
        let value = BigRational::from_integer(digits.parse().ok()?);
        return Some(Expr::Num { value, decimal: false });
    }
    if exponent.unsigned_abs() > MAX_EXPONENT || digits.len() > MAX_DIGITS {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scaled: BigInt = format!("0{whole}{fraction}").parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let ten = BigRational::from_integer(BigInt::from(10));
    let value = BigRational::from_integer(scaled) * Pow::pow(ten, shift);
    Some(Expr::Num { value, decimal: true })
}
