//! The filter language and its parser: `category=Mugs and (price<50 or colour in (red, "sea green"))`.

use std::fmt;

use crate::error::FilterError;

/// Longest filter that is parsed, in characters.
pub const MAX_FILTER_LEN: usize = 10_000;

/// Deepest nesting of parentheses and `not`: keeps the recursion of the parser and of the filter within any stack.
const MAX_DEPTH: usize = 64;

/// How a column's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`; also true for a listing without a value.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Longer operators come first, so that `<=` is not read as `<`.
    const ALL: [Comparison; 6] = [
        Comparison::NotEqual,
        Comparison::LessOrEqual,
        Comparison::GreaterOrEqual,
        Comparison::Equal,
        Comparison::Less,
        Comparison::Greater,
    ];

    /// Returns the operator as the filter language writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

/// A condition on the filter columns of a listing.
///
/// ```
/// use magpie_index::search::Filter;
/// let filter = Filter::parse("category=Mugs and price<50")?;
/// assert_eq!(filter.to_string(), "(category = Mugs and price < 50)");
/// # Ok::<(), magpie_index::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// All conditions hold.
    And(Vec<Filter>),
    /// At least one condition holds.
    Or(Vec<Filter>),
    /// The condition does not hold.
    Not(Box<Filter>),
    /// A comparison with a value.
    Compare {
        /// Name of the column.
        column: String,
        /// The operator.
        comparison: Comparison,
        /// The value; parsed as a number where the column holds numbers.
        value: String,
    },
    /// The column's value is one of these.
    In {
        /// Name of the column.
        column: String,
        /// The values.
        values: Vec<String>,
    },
}

impl Filter {
    /// Parses a filter.
    ///
    /// `and` binds closer than `or`. Names and values with characters other than letters, digits, `_`, `-`, `.` and `+`
    /// must be in single or double quotes; a doubled quote stands for one.
    ///
    /// # Errors
    /// [`FilterError::Syntax`] with the position of the first character that does not fit.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let filter = parser.or()?;
        match parser.peek() {
            (_, Token::End) => Ok(filter),
            _ => parser.expected("'and', 'or' or the end"),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str| {
            let parts: Vec<String> = parts.iter().map(Filter::to_string).collect();
            write!(f, "({})", parts.join(word))
        };
        match self {
            Filter::And(parts) => list(f, parts, " and "),
            Filter::Or(parts) => list(f, parts, " or "),
            Filter::Not(inner) => write!(f, "not {inner}"),
            Filter::Compare { column, comparison, value } => {
                write!(f, "{} {} {}", quoted(column), comparison.symbol(), quoted(value))
            }
            Filter::In { column, values } => {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                write!(f, "{} in ({})", quoted(column), values.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(is_plain) && !is_keyword(text);
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')
}

fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "in"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Compare(Comparison),
    Open,
    Close,
    Comma,
    End,
}

/// Splits a filter into tokens with their positions; the last one is [`Token::End`].
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let chars: Vec<char> = text.chars().collect();
    let error = |at: usize, detail: String| Err(FilterError::Syntax { at: at + 1, detail });
    if chars.len() > MAX_FILTER_LEN {
        return error(MAX_FILTER_LEN, format!("the filter is longer than {MAX_FILTER_LEN} characters"));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let symbol = |symbol: &str| symbol.chars().enumerate().all(|(i, s)| chars.get(at + i) == Some(&s));
        let token = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            quote @ ('\'' | '"') => {
                let mut value = String::new();
                loop {
                    at += 1;
                    match chars.get(at) {
                        None => return error(start, "the quote is not closed".to_owned()),
                        Some(c) if *c == quote && chars.get(at + 1) == Some(&quote) => at += 1,
                        Some(c) if *c == quote => break,
                        Some(_) => {}
                    }
                    value.extend(chars.get(at));
                }
                Token::Quoted(value)
            }
            c if is_plain(c) => {
                let word: String = chars[at..].iter().take_while(|&&c| is_plain(c)).collect();
                at += word.chars().count() - 1;
                Token::Word(word)
            }
            c => match Comparison::ALL.into_iter().find(|comparison| symbol(comparison.symbol())) {
                Some(comparison) => {
                    at += comparison.symbol().len() - 1;
                    Token::Compare(comparison)
                }
                None => return error(start, format!("'{}' must be in quotes", c.escape_debug())),
            },
        };
        at += 1;
        tokens.push((start + 1, token));
    }
    tokens.push((chars.len() + 1, Token::End));
    Ok(tokens)
}

/// A recursive-descent parser: or -> and -> not -> comparison.
struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a (usize, Token) {
        // The last token is `End`, and the parser never advances past it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn expected<T>(&self, what: &str) -> Result<T, FilterError> {
        let (at, token) = self.peek();
        let found = match token {
            Token::Word(word) | Token::Quoted(word) => format!("'{}'", word.escape_debug()),
            Token::Compare(comparison) => format!("'{}'", comparison.symbol()),
            Token::Open => "'('".to_owned(),
            Token::Close => "')'".to_owned(),
            Token::Comma => "','".to_owned(),
            Token::End => "the end".to_owned(),
        };
        Err(FilterError::Syntax { at: *at, detail: format!("expected {what}, found {found}") })
    }

    fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek().1 == *token;
        self.at += usize::from(found);
        found
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(&self.peek().1, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.and()?];
        while self.eat_keyword("or") {
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Or(parts) })
    }

    fn and(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.not()?];
        while self.eat_keyword("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::And(parts) })
    }

    fn not(&mut self) -> Result<Filter, FilterError> {
        if self.depth == MAX_DEPTH {
            let (at, _) = self.peek();
            return Err(FilterError::Syntax { at: *at, detail: format!("nested deeper than {MAX_DEPTH}") });
        }
        self.depth += 1;
        let filter = if self.eat_keyword("not") {
            Filter::Not(Box::new(self.not()?))
        } else if self.eat(&Token::Open) {
            let inner = self.or()?;
            if !self.eat(&Token::Close) {
                return self.expected("')'");
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn comparison(&mut self) -> Result<Filter, FilterError> {
        let column = self.text("a column's name")?;
        if self.eat_keyword("in") {
            if !self.eat(&Token::Open) {
                return self.expected("'(' after 'in'");
            }
            let mut values = vec![self.text("a value")?];
            while self.eat(&Token::Comma) {
                values.push(self.text("a value")?);
            }
            if !self.eat(&Token::Close) {
                return self.expected("',' or ')'");
            }
            return Ok(Filter::In { column, values });
        }
        let Token::Compare(comparison) = self.peek().1 else {
            return self.expected("one of = != < <= > >= in");
        };
        self.at += 1;
        Ok(Filter::Compare { column, comparison, value: self.text("a value")? })
    }

    /// Parses a name or value. A keyword must be quoted to be either.
    fn text(&mut self, what: &str) -> Result<String, FilterError> {
        match &self.peek().1 {
            Token::Quoted(text) => {
                self.at += 1;
                Ok(text.clone())
            }
            Token::Word(word) if !is_keyword(word) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => self.expected(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    #[test]
    fn and_binds_closer_than_or() {
        let shown = |text: &str| Filter::parse(text).map(|filter| filter.to_string());
        assert_eq!(shown("a=1 or b=2 and not c=3"), Ok("(a = 1 or (b = 2 and not c = 3))".to_owned()));
        assert_eq!(shown("(a=1 or b=2) and c>=3"), Ok("((a = 1 or b = 2) and c >= 3)".to_owned()));
        assert_eq!(shown("colour IN (red,'sea green')"), Ok("colour in (red, 'sea green')".to_owned()));
        assert_eq!(shown("shop='Ann''s' AND price != -1.5"), Ok("(shop = 'Ann''s' and price != -1.5)".to_owned()));
    }

    #[test]
    fn errors_have_a_position_and_a_reason() {
        let error = |text: &str| Filter::parse(text).expect_err(text).to_string();
        assert_eq!(error(""), "at character 1: expected a column's name, found the end");
        assert_eq!(error("price 50"), "at character 7: expected one of = != < <= > >= in, found '50'");
        assert_eq!(
            error("price<50 category=Mugs"),
            "at character 10: expected 'and', 'or' or the end, found 'category'"
        );
        assert_eq!(error("title='Tall"), "at character 7: the quote is not closed");
        assert_eq!(error("price<50€"), "at character 9: '€' must be in quotes");
        assert_eq!(error("a in ()"), "at character 7: expected a value, found ')'");
        assert_eq!(error("(a=1"), "at character 5: expected ')', found the end");
        assert!(error(&"(".repeat(9_000)).contains("nested deeper"));
        assert!(error(&"not ".repeat(2_000)).contains("nested deeper"));
        assert!(error(&"x".repeat(10_001)).contains("longer"));
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let text = "[a-z]{1,4}|and|[ '\"=é]{0,3}";
        let comparison = prop::sample::select(Comparison::ALL.to_vec());
        let leaf = prop_oneof![
            (text, comparison, text).prop_map(|(column, comparison, value)| Filter::Compare {
                column,
                comparison,
                value
            }),
            (text, prop::collection::vec(text, 1..3)).prop_map(|(column, values)| Filter::In { column, values }),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
                inner.prop_map(|filter| Filter::Not(Box::new(filter))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn a_displayed_filter_parses_to_the_same_filter(filter in filters()) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }

        #[test]
        fn any_text_is_parsed_or_rejected(text in any::<String>()) {
            let _ = Filter::parse(&text);
        }
    }
}
