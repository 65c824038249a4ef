//! Parses tokens to a value: lists, sets, tuples, intervals, equations.
//!
//! What does not live here: the expressions within ([`formula`]).

mod formula;

use num_traits::ToPrimitive;

use super::{
    clean::grouped_number,
    eval::eval,
    expr::Expr,
    lex::{Tok, lex},
    value::{Chain, Interval, Relation, SetOp, Value},
};

/// How deeply nested brackets may be.
const MAX_DEPTH: usize = 40;
/// How many quotients, powers and similar operations may nest without brackets.
const MAX_WRAPS: usize = 60;

/// Named sets.
const NAMED: [&str; 5] = ["reals", "integers", "naturals", "rationals", "complexes"];

fn set_op(command: &str) -> Option<SetOp> {
    match command {
        "cup" => Some(SetOp::Union),
        "cap" => Some(SetOp::Intersection),
        "setminus" | "backslash" => Some(SetOp::Difference),
        _ => None,
    }
}

/// Parses a cleaned text. `None` if it is not a formula.
pub(super) fn parse(text: &str) -> Option<Value> {
    if let Some(number) = grouped_number(text) {
        return parse(&number);
    }
    let tokens = lex(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, wraps: 0, bars: 0 };
    let value = parser.list()?;
    (parser.at == tokens.len()).then_some(value)
}

struct Parser<'a> {
    tokens: &'a [Tok],
    at: usize,
    depth: usize,
    /// How many operations so far have wrapped what was parsed before them.
    wraps: usize,
    /// How many absolute values are open. A bar closes one.
    bars: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Tok> {
        self.tokens.get(self.at)
    }

    fn eat_op(&mut self, op: char) -> bool {
        let found = self.peek() == Some(&Tok::Op(op));
        self.at += usize::from(found);
        found
    }

    fn eat_cmd(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Tok::Cmd(cmd)) if cmd == name);
        self.at += usize::from(found);
        found
    }

    /// Runs `read` one level deeper. Returns `None` if that is too deep.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Counts one more operation around what was parsed. `None` if there are too many.
    fn wrap(&mut self) -> Option<()> {
        self.wraps += 1;
        (self.wraps <= MAX_WRAPS).then_some(())
    }

    /// Parses values separated by commas and semicolons. Several are a set.
    fn list(&mut self) -> Option<Value> {
        let mut items = self.items()?;
        if items.len() == 1 {
            return items.pop();
        }
        // "x = 1, 2" means that x is either; "x = 1, y = 2" is two statements.
        if let Some((Value::Chain(chain), others)) = items.split_first() {
            let plain = others.iter().all(|item| !matches!(item, Value::Chain(_)));
            if plain && chain.rest.len() == 1 && chain.is_assignment() {
                let mut values = flat(chain.last().clone());
                values.extend(others.iter().cloned());
                let rest = vec![(Relation::Equal, Value::Set(values))];
                return Some(Value::Chain(Box::new(Chain { first: chain.first.clone(), rest })));
            }
        }
        Some(Value::Set(items))
    }

    fn items(&mut self) -> Option<Vec<Value>> {
        let mut items = self.statement()?;
        while self.eat_op(',') || self.eat_op(';') {
            items.extend(self.statement()?);
        }
        Some(items)
    }

    /// Parses an equation, an inequality or a value. A plus-minus at the top level makes two values.
    fn statement(&mut self) -> Option<Vec<Value>> {
        let first = self.signed_pair()?;
        let mut rest = Vec::new();
        while let Some(relation) = self.relation() {
            let value = self.signed_pair()?;
            rest.push((relation, value));
        }
        let one = |mut values: Vec<Value>| {
            if values.len() == 1 { values.pop() } else { Some(Value::Set(values)) }
        };
        if rest.is_empty() {
            return Some(first);
        }
        let first = one(first)?;
        let mut links = Vec::new();
        for (relation, value) in rest {
            let value = one(value)?;
            match relation {
                Some(relation) => links.push((relation, value)),
                // In "pi r = 3.1 ~ 3" the exact side counts, in "x ~ 3" the only value.
                None if links.is_empty() => {
                    let named = matches!(&first, Value::Expr(expr) if expr.is_only_symbols());
                    return Some(vec![if named { value } else { first }]);
                }
                None => {}
            }
        }
        Some(vec![Value::Chain(Box::new(Chain { first, rest: links }))])
    }

    /// Parses a relation sign. The inner `None` is "about".
    fn relation(&mut self) -> Option<Option<Relation>> {
        let relation = match self.peek()? {
            Tok::Op('=') => Some(Relation::Equal),
            Tok::Op('<') => Some(Relation::Less),
            Tok::Op('>') => Some(Relation::Greater),
            Tok::Cmd(name) => match name.as_str() {
                "in" | "equiv" => Some(Relation::Equal),
                "<" => Some(Relation::Less),
                ">" => Some(Relation::Greater),
                "le" => Some(Relation::LessEqual),
                "ge" => Some(Relation::GreaterEqual),
                "ne" => Some(Relation::Unequal),
                "approx" => None,
                _ => return None,
            },
            _ => return None,
        };
        self.at += 1;
        // "<=" and ">=" in plain signs.
        let or_equal = match relation {
            Some(Relation::Less) if self.eat_op('=') => Some(Relation::LessEqual),
            Some(Relation::Greater) if self.eat_op('=') => Some(Relation::GreaterEqual),
            other => other,
        };
        Some(or_equal)
    }

    fn signed_pair(&mut self) -> Option<Vec<Value>> {
        let both = |left: Option<Expr>, right: Expr| {
            let sum = |term: Expr| match &left {
                Some(left) => Expr::Add(vec![left.clone(), term]),
                None => term,
            };
            vec![Value::Expr(sum(right.clone())), Value::Expr(sum(right.neg()))]
        };
        if self.eat_cmd("pm") {
            return Some(both(None, self.expr()?));
        }
        match self.set_expr()? {
            Value::Expr(left) if self.eat_cmd("pm") => Some(both(Some(left), self.expr()?)),
            value => Some(vec![value]),
        }
    }

    /// Parses sets with unions, intersections and differences between them.
    fn set_expr(&mut self) -> Option<Value> {
        let mut left = self.set_term()?;
        loop {
            let Some(op) = self.peek().and_then(|token| match token {
                Tok::Cmd(name) => set_op(name),
                _ => None,
            }) else {
                return Some(left);
            };
            self.at += 1;
            self.wrap()?;
            let right = self.set_term()?;
            left = Value::Combined(op, Box::new(left), Box::new(right));
        }
    }

    /// Parses a set or an expression. Decides by looking ahead, since backtracking would take exponential time.
    fn set_term(&mut self) -> Option<Value> {
        let separated = |token: &Tok| matches!(token, Tok::Op(',' | ';'));
        let combined = |token: &Tok| matches!(token, Tok::Cmd(name) if set_op(name).is_some());
        match self.peek()? {
            Tok::Cmd(name)
                if name == "{" || name == "emptyset" || NAMED.contains(&name.as_str()) =>
            {
                self.nested(Parser::collection)
            }
            Tok::Op('(' | '[' | '{') if self.bracket_holds(separated) => {
                self.nested(Parser::collection)
            }
            Tok::Op('(') if self.bracket_holds(combined) => self.nested(|parser| {
                parser.at += 1;
                let set = parser.set_expr()?;
                parser.eat_op(')').then_some(set)
            }),
            _ => self.expr().map(Value::Expr),
        }
    }

    /// Returns whether the bracket that opens here contains such a token, ignoring nested brackets.
    fn bracket_holds(&self, wanted: impl Fn(&Tok) -> bool) -> bool {
        let mut depth = 0_usize;
        for token in self.tokens.iter().skip(self.at) {
            let command = |wanted: &str| matches!(token, Tok::Cmd(name) if name == wanted);
            if matches!(token, Tok::Op('(' | '[' | '{')) || command("{") {
                depth += 1;
            } else if matches!(token, Tok::Op(')' | ']' | '}')) || command("}") {
                depth = depth.saturating_sub(1);
            } else if depth == 1 && wanted(token) {
                return true;
            }
            if depth == 0 {
                return false;
            }
        }
        false
    }

    /// Parses a set, tuple or interval with its brackets, or a named set.
    fn collection(&mut self) -> Option<Value> {
        let open = self.peek()?;
        self.at += 1;
        match open {
            Tok::Cmd(name) if name == "emptyset" => return Some(Value::Set(Vec::new())),
            Tok::Cmd(name) if NAMED.contains(&name.as_str()) => {
                return Some(Value::Named(name.clone()));
            }
            Tok::Cmd(name) if name == "{" => {
                if self.eat_cmd("}") {
                    return Some(Value::Set(Vec::new()));
                }
                let items = self.items()?;
                return self.eat_cmd("}").then_some(Value::Set(items));
            }
            Tok::Op('(' | '[' | '{') => {}
            _ => return None,
        }
        let bars = std::mem::take(&mut self.bars);
        let items = self.items()?;
        self.bars = bars;
        let close = self.peek()?;
        self.at += 1;
        // What continues like a product or a power is not a collection: "(x)(y)".
        if items.len() < 2 || self.starts_factor() || self.peek() == Some(&Tok::Op('^')) {
            return None;
        }
        match (open, close) {
            (Tok::Op('{'), Tok::Op('}')) => Some(Value::Set(items)),
            (Tok::Op('(' | '['), Tok::Op(')' | ']')) => {
                bracketed(items, open == &Tok::Op('('), close == &Tok::Op(')'))
            }
            _ => None,
        }
    }
}

fn flat(value: Value) -> Vec<Value> {
    match value {
        Value::Set(items) => items,
        other => vec![other],
    }
}

/// Returns an interval for two expressions in brackets if that is not empty, else a tuple.
fn bracketed(items: Vec<Value>, low_open: bool, high_open: bool) -> Option<Value> {
    if let [Value::Expr(low), Value::Expr(high)] = items.as_slice() {
        let empty = match (number(low), number(high)) {
            (Some(low), Some(high)) if low_open && high_open => high <= low,
            (Some(low), Some(high)) if !low_open && !high_open => high < low,
            _ => false,
        };
        if !empty {
            let (low, high) = (low.clone(), high.clone());
            return Some(Value::Interval(Box::new(Interval { low, high, low_open, high_open })));
        }
    }
    (low_open == high_open).then_some(Value::Tuple(items))
}

/// Returns the real value of an expression without symbols. It may be infinite.
pub(super) fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Infinity => Some(f64::INFINITY),
        Expr::Neg(inner) => number(inner).map(|value| -value),
        Expr::Num { value, .. } => value.to_f64(),
        other => {
            let mut symbols = Vec::new();
            other.symbols(&mut symbols);
            if symbols.is_empty() { eval(other, 0)?.real() } else { None }
        }
    }
}
