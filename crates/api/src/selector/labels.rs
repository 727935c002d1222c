//! Label selectors: the text of queries, and `LabelSelector` of objects.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::SelectorError;
use crate::{
    field::{Cause, Path},
    names,
};

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `a in (x,y)`
    In,
    /// `a notin (x,y)`: also without the label
    NotIn,
    /// `a=x`
    Equals,
    /// `a==x`
    DoubleEquals,
    /// `a!=x`: also without the label
    NotEquals,
    /// `a`
    Exists,
    /// `!a`
    DoesNotExist,
    /// `a>1`: both are integers
    GreaterThan,
    /// `a<1`: both are integers
    LessThan,
}

/// One demand on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted where there are several.
    values: Vec<String>,
}

/// Requirements that must all hold, in order of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// A requirement whose key, values and their number are right for the operator.
    ///
    /// # Errors
    ///
    /// Upstream's sentence; several stand in brackets.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut causes = Vec::new();
        check_key(key, Path::new("key"), &mut causes);
        let path = Path::new("values");
        let count_fault = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                "exact-match compatibility requires one single value"
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                "for 'Gt', 'Lt' operators, exactly one value is required"
            }
            _ => "",
        };
        if !count_fault.is_empty() {
            causes.push(Cause::invalid(path.clone(), values.clone(), count_fault));
        }
        for (at, value) in values.iter().enumerate() {
            let ordered = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if ordered && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                causes.push(Cause::invalid(path.index(at), value.as_str(), why));
            }
        }
        for (at, value) in values.iter().enumerate() {
            let faults = names::label_value(value);
            if !faults.is_empty() {
                let field = path.index(at).key(key);
                causes.push(Cause::invalid(field, value.as_str(), &faults.join("; ")));
            }
        }
        match causes.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(SelectorError::Labels(one.to_string())),
            many => {
                let all: Vec<String> = many.iter().map(ToString::to_string).collect();
                Err(SelectorError::Labels(format!("[{}]", all.join(", "))))
            }
        }
    }

    /// The label it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether a label with this value (or none) meets it.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let among = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(among),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(among),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value).is_some_and(|order| order.is_gt()),
            Operator::LessThan => self.compare(value).is_some_and(|order| order.is_lt()),
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<std::cmp::Ordering> {
        let found: i64 = value?.parse().ok()?;
        let bound: i64 = self.values.first()?.parse().ok()?;
        Some(found.cmp(&bound))
    }
}

impl Labels {
    /// Reads a selector as in `kubectl get -l`.
    ///
    /// # Errors
    ///
    /// When the grammar or the shape of a key or value is broken, in upstream's words.
    pub fn parse(selector: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: scan(selector), at: 0 };
        let mut requirements = parser.selector()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// The selector of an object: `None` matches nothing, an empty one everything.
    ///
    /// # Errors
    ///
    /// When an expression's operator, key or values are wrong.
    pub fn from_object(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else {
            return Ok(Self { requirements: Vec::new(), nothing: true });
        };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let why = format!("{other:?} is not a valid label selector operator");
                    return Err(SelectorError::Labels(why));
                }
            };
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort_unstable();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// What matches all of these labels: the selector of a Service. Empty matches nothing.
    #[must_use]
    pub fn exactly(labels: &BTreeMap<String, String>) -> Self {
        let one = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self { requirements: labels.iter().map(one).collect(), nothing: labels.is_empty() }
    }

    /// All requirements, in order of keys.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it matches whatever there is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether an object with these labels matches.
    #[must_use]
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches_with(|key| labels.and_then(|all| all.get(key)).map(String::as_str))
    }

    /// Whether an object whose labels this function finds matches.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|one| one.matches(label(&one.key)))
    }
}

/// As `status.selector` of a Scale has it; `Labels::parse` reads it.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

fn check_key(key: &str, path: Path, causes: &mut Vec<Cause>) {
    let faults = names::qualified_name(key);
    if !faults.is_empty() {
        causes.push(Cause::invalid(path, key, &faults.join("; ")));
    }
}

/// A piece of a selector: a sign, or a word (`in` and `notin` are told apart by where they are).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Sign(&'a str),
    Word(&'a str),
    Wrong(&'a str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Sign(text) | Token::Word(text) => f.write_str(text),
            Token::Wrong(text) => write!(f, "error expected: keyword found '{text}'"),
            Token::End => Ok(()),
        }
    }
}

const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn scan(text: &str) -> Vec<Token<'_>> {
    let is_space = |letter: char| matches!(letter, ' ' | '\t' | '\r' | '\n');
    let is_sign = |letter: char| "=!(),><".contains(letter);
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start_matches(is_space));
    while let Some(first) = rest.chars().next() {
        let length = if is_sign(first) {
            SIGNS.iter().find(|sign| rest.starts_with(**sign)).map_or(1, |sign| sign.len())
        } else {
            rest.find(|letter| is_sign(letter) || is_space(letter)).unwrap_or(rest.len())
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match () {
            () if !is_sign(first) => Token::Word(token),
            () if SIGNS.contains(&token) => Token::Sign(token),
            () => Token::Wrong(token),
        });
        rest = after.trim_start_matches(is_space);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Sign("!") => {
                    let one = self.requirement().map_err(|why| {
                        SelectorError::Labels(format!("unable to parse requirement: {why}"))
                    })?;
                    requirements.push(one);
                }
                other => return Err(found(other, ", expected: !, identifier, or 'end of string'")),
            }
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Sign(",") => match self.peek() {
                    Token::Word(_) | Token::Sign("!") => {}
                    other => return Err(found(other, ", expected: identifier after ','")),
                },
                other => return Err(found(other, ", expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek() == Token::Sign("!");
        if absent {
            self.at += 1;
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(found(other, ", expected: identifier")),
        };
        let mut causes = Vec::new();
        // Upstream has no path here and prints its nil.
        check_key(key, Path::new("<nil>"), &mut causes);
        if let Some(cause) = causes.first() {
            return Err(SelectorError::Labels(cause.to_string()));
        }
        let ends = matches!(self.peek(), Token::End | Token::Sign(","));
        if absent || ends {
            let operator = if absent { Operator::DoesNotExist } else { Operator::Exists };
            return Requirement::new(key, operator, Vec::new());
        }
        let operator = match self.next() {
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Sign("=") => Operator::Equals,
            Token::Sign("==") => Operator::DoubleEquals,
            Token::Sign("!=") => Operator::NotEquals,
            Token::Sign(">") => Operator::GreaterThan,
            Token::Sign("<") => Operator::LessThan,
            other => return Err(found(other, ", expected: in, notin, =, ==, !=, gt, lt")),
        };
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.exact_value()?],
        };
        values.sort_unstable();
        values.dedup();
        Requirement::new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            other => Err(found(other, ", expected: identifier")),
        }
    }

    /// `(a,b)`; a comma without a word beside it stands for the empty value.
    fn list(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(found(other, " expected: '('")),
        }
        let mut values = Vec::new();
        match self.peek() {
            Token::Sign(")") => {
                self.at += 1;
                return Ok(values);
            }
            Token::Word(_) | Token::Sign(",") => {}
            other => return Err(found(other, ", expected: ',', ')' or identifier")),
        }
        loop {
            match self.next() {
                Token::Word(word) => {
                    values.push(word.to_owned());
                    match self.peek() {
                        Token::Sign("," | ")") => {}
                        other => return Err(found(other, ", expected: ',' or ')'")),
                    }
                }
                Token::Sign(",") => {
                    if values.is_empty() || matches!(self.peek(), Token::Sign("," | ")")) {
                        values.push(String::new());
                    }
                }
                Token::Sign(")") => return Ok(values),
                other => return Err(found(other, ", expected: ',', or identifier")),
            }
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    SelectorError::Labels(format!("found '{token}'{expected}"))
}
