//! Expressions as text: a scanner and a parser by precedence. Knows no columns and no types.
//!
//! ```text
//! or < and < not < comparison < + - < * / < unary minus < call, name, number, text, ( )
//! ```

use std::ops::Range;

use super::unit;

/// Most bytes.
pub const MAX_TEXT: usize = 1024;
/// How deep expressions may be nested.
const MAX_DEPTH: usize = 32;

/// An expression as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub what: What,
    /// Bytes of the text that it is made of.
    pub at: Range<usize>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A number in seconds, bytes or pieces.
    Number(f64, unit::Unit),
    /// Text in quotes.
    Text(String),
    /// Words with points between them.
    Name(String),
    /// A function with what it is given.
    Call(String, Vec<Node>),
    /// `-` or `not`.
    Unary(Op, Box<Node>),
    /// Two with something between them.
    Binary(Op, Box<(Node, Node)>),
}

/// What combines values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Either.
    Or,
    /// Both.
    And,
    /// The contrary.
    Not,
    /// Less.
    Less,
    /// Less or the same.
    AtMost,
    /// More.
    More,
    /// More or the same.
    AtLeast,
    /// The same.
    Same,
    /// Not the same.
    Other,
    /// Sum.
    Plus,
    /// Difference, and the number below zero.
    Minus,
    /// Product.
    Times,
    /// Quotient.
    Per,
}

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the text.
    pub at: Range<usize>,
    /// In words.
    pub why: String,
}

impl Mistake {
    /// A mistake at bytes of the text.
    pub fn new(at: &Range<usize>, why: impl Into<String>) -> Self {
        let (at, why) = (at.clone(), why.into());
        Self { at, why }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64, unit::Unit),
    Text(String),
    Word(String),
    Op(Op),
    Open,
    Close,
    Comma,
}

/// Reads an expression.
///
/// # Errors
/// The first thing that is no part of one.
pub fn parse(text: &str) -> Result<Node, Mistake> {
    if text.len() > MAX_TEXT {
        let why = format!("an expression of {} bytes; at most {MAX_TEXT}", text.len());
        return Err(Mistake::new(&(0..0), why));
    }
    let mut parser = Parser {
        tokens: scan(text)?,
        next: 0,
        end: text.len(),
        depth: 0,
    };
    let node = parser.binary(0)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("the end of the expression, or an operator")),
    }
}

fn scan(text: &str) -> Result<Vec<(Token, Range<usize>)>, Mistake> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &text[at..];
        let run = |fits: fn(char) -> bool| at + rest.find(|c: char| !fits(c)).unwrap_or(rest.len());
        let (token, end) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'0'..=b'9' => number(text, at)?,
            b'\'' => {
                let Some(length) = rest[1..].find('\'') else {
                    return Err(Mistake::new(
                        &(at..text.len()),
                        "a text without its second '",
                    ));
                };
                let inner = String::from(&rest[1..=length]);
                (Token::Text(inner), at + length + 2)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (word(&text[at..end]), end)
            }
            _ => {
                let Some((token, length)) = symbol(rest) else {
                    let odd: String = rest.chars().take(1).collect();
                    let why = format!("{odd:?} is no part of an expression");
                    return Err(Mistake::new(&(at..at + odd.len()), why));
                };
                (token, at + length)
            }
        };
        tokens.push((token, at..end));
        at = end;
    }
    Ok(tokens)
}

fn word(text: &str) -> Token {
    match text {
        "or" => Token::Op(Op::Or),
        "and" => Token::Op(Op::And),
        "not" => Token::Op(Op::Not),
        _ => Token::Word(String::from(text)),
    }
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    let two = [
        ("<=", Op::AtMost),
        (">=", Op::AtLeast),
        ("!=", Op::Other),
        ("==", Op::Same),
    ];
    if let Some((_, op)) = two.iter().find(|(text, _)| rest.starts_with(text)) {
        return Some((Token::Op(*op), 2));
    }
    let token = match rest.as_bytes().first()? {
        b'<' => Token::Op(Op::Less),
        b'>' => Token::Op(Op::More),
        b'=' => Token::Op(Op::Same),
        b'+' => Token::Op(Op::Plus),
        b'-' => Token::Op(Op::Minus),
        b'*' => Token::Op(Op::Times),
        b'/' => Token::Op(Op::Per),
        b'(' => Token::Open,
        b')' => Token::Close,
        b',' => Token::Comma,
        _ => return None,
    };
    Some((token, 1))
}

/// A number, with its unit behind it.
fn number(text: &str, at: usize) -> Result<(Token, usize), Mistake> {
    let rest = &text[at..];
    let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    let digits = at + digits.unwrap_or(rest.len());
    let Some(value) = text[at..digits]
        .parse::<f64>()
        .ok()
        .filter(|v| v.is_finite())
    else {
        return Err(Mistake::new(&(at..digits), "this is no number"));
    };
    let rest = &text[digits..];
    let spaces = rest.len() - rest.trim_start_matches(' ').len();
    let begin = digits + spaces;
    let rest = &text[begin..];
    let mut length = rest
        .find(|c: char| !c.is_ascii_alphabetic() && c != '%')
        .unwrap_or(rest.len());
    let is_rate = |from: usize| {
        let behind = rest.get(from + 2..).and_then(|rest| rest.chars().next());
        rest[from..].starts_with("/s")
            && behind.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '(')
    };
    if matches!(&rest[..length], "and" | "or" | "not") || (length == 0 && !is_rate(0)) {
        return Ok((Token::Number(value, unit::Unit::ONE), digits));
    }
    if is_rate(length) {
        length += 2;
    }
    let end = begin + length;
    match unit::parse(&text[begin..end]) {
        Some((unit, scale)) => Ok((Token::Number(value * scale, unit), end)),
        None => {
            let why = format!(
                "{:?} is no unit; there are %, us, ms, s, min, h, d, B, KiB, MiB, GiB, and each per \
                 second with /s",
                &text[begin..end]
            );
            Err(Mistake::new(&(begin..end), why))
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Op {
    /// How strongly it binds what stands on both of its sides; `None` for what has one side.
    fn strength(self) -> Option<u8> {
        Some(match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Not => return None,
            Self::Less | Self::AtMost | Self::More | Self::AtLeast | Self::Same | Self::Other => 4,
            Self::Plus | Self::Minus => 5,
            Self::Times | Self::Per => 6,
        })
    }
}

/// How strongly `not` binds.
const NOT: u8 = 3;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn at(&self) -> Range<usize> {
        let at = self.tokens.get(self.next).map(|(_, at)| at.clone());
        at.unwrap_or(self.end..self.end)
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let found = match self.peek() {
            None => "the expression ends",
            Some(_) => "this stands",
        };
        Mistake::new(&self.at(), format!("{found} where {expected} is expected"))
    }

    /// What binds at least so strongly.
    fn binary(&mut self, least: u8) -> Result<Node, Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let why = format!("nested more than {MAX_DEPTH} deep");
            return Err(Mistake::new(&self.at(), why));
        }
        let mut left = self.unary(least)?;
        while let Some(Token::Op(op)) = self.peek() {
            let op = *op;
            let Some(strength) = op.strength().filter(|strength| *strength >= least) else {
                break;
            };
            self.next += 1;
            let right = self.binary(strength + 1)?;
            let at = left.at.start..right.at.end;
            if strength == 4
                && matches!(&left.what, What::Binary(op, _) if op.strength() == Some(4))
            {
                return Err(Mistake::new(
                    &at,
                    "comparisons in a row; join them with and",
                ));
            }
            left = Node {
                what: What::Binary(op, Box::new((left, right))),
                at,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self, least: u8) -> Result<Node, Mistake> {
        let begin = self.at().start;
        let (op, strength) = match self.peek() {
            Some(Token::Op(Op::Not)) if least <= NOT => (Op::Not, NOT),
            Some(Token::Op(Op::Minus)) => (Op::Minus, 7),
            _ => return self.atom(),
        };
        self.next += 1;
        let inner = self.binary(strength)?;
        let at = begin..inner.at.end;
        Ok(Node {
            what: What::Unary(op, Box::new(inner)),
            at,
        })
    }

    fn atom(&mut self) -> Result<Node, Mistake> {
        let at = self.at();
        let expected = "a number, a column, a function or (";
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected(expected));
        };
        let what = match token {
            Token::Number(value, unit) => What::Number(value, unit),
            Token::Text(text) => What::Text(text),
            Token::Word(word) => {
                self.next += 1;
                if self.peek() != Some(&Token::Open) {
                    let what = What::Name(word);
                    return Ok(Node { what, at });
                }
                let given = self.given()?;
                let end = self.tokens[self.next - 1].1.end;
                return Ok(Node {
                    what: What::Call(word, given),
                    at: at.start..end,
                });
            }
            Token::Open => {
                self.next += 1;
                let inner = self.binary(0)?;
                if self.peek() != Some(&Token::Close) {
                    return Err(self.unexpected(")"));
                }
                let end = self.at().end;
                self.next += 1;
                return Ok(Node {
                    what: inner.what,
                    at: at.start..end,
                });
            }
            Token::Op(_) | Token::Close | Token::Comma => return Err(self.unexpected(expected)),
        };
        self.next += 1;
        Ok(Node { what, at })
    }

    /// What stands between the parentheses of a call.
    fn given(&mut self) -> Result<Vec<Node>, Mistake> {
        self.next += 1;
        let mut given = Vec::new();
        if self.peek() == Some(&Token::Close) {
            self.next += 1;
            return Ok(given);
        }
        loop {
            given.push(self.binary(0)?);
            match self.peek() {
                Some(Token::Comma) => self.next += 1,
                Some(Token::Close) => {
                    self.next += 1;
                    return Ok(given);
                }
                _ => return Err(self.unexpected(", or )")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
