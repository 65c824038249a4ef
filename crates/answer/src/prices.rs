//! The price table: what tokens and traffic cost.

use std::{fs, path::Path};

use serde::Deserialize;
use thinking::policy::{ModelPrices, TokenPrices};

use crate::account::{ModelTotals, Summary};

/// The example that ships with the program.
const EXAMPLE: &str = include_str!("../prices.toml");

/// What tokens and traffic cost.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Identifies the prices: a version or a date.
    pub version: String,
    /// The currency of all prices.
    pub currency: String,
    /// Where the prices come from.
    #[serde(default)]
    pub note: String,
    /// The price of 1,000,000,000 bytes over the link to the large node.
    pub traffic_per_gb: f64,
    /// The small model's prices.
    pub small: ModelPrices,
    /// The large model's prices.
    pub large: ModelPrices,
}

/// A price table that cannot be used. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use the prices {path}: {why}; give --prices a TOML file like crates/answer/prices.toml, which \
     docs/report.md shows"
)]
pub struct PricesError {
    path: String,
    why: String,
}

impl Prices {
    /// Returns the example that ships with the program. Its prices are nobody's, and it says so.
    ///
    /// # Errors
    /// Never for the file that ships; a test reads it.
    pub fn example() -> Result<Prices, PricesError> {
        Prices::parse("prices.toml", EXAMPLE)
    }

    /// Reads a price table.
    ///
    /// # Errors
    /// If it cannot be read, a field is missing or unknown, or a price is negative or not a finite number.
    pub fn read(path: &Path) -> Result<Prices, PricesError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|why| PricesError { path: shown.clone(), why: why.to_string() })?;
        Prices::parse(&shown, &text)
    }

    fn parse(path: &str, text: &str) -> Result<Prices, PricesError> {
        let bad = |why: String| PricesError { path: path.to_owned(), why };
        let prices: Prices =
            toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
                bad(error.message().split_whitespace().collect::<Vec<_>>().join(" "))
            })?;
        let traffic = prices.traffic_per_gb;
        let named = |side, (key, price): (&str, f64)| (format!("{side}.{key}"), price);
        let fault = if traffic.is_finite() && traffic >= 0.0 {
            let small = prices.small.out_of_range().map(|fault| named("small", fault));
            small.or_else(|| prices.large.out_of_range().map(|fault| named("large", fault)))
        } else {
            Some(("traffic_per_gb".to_owned(), traffic))
        };
        match fault {
            Some((name, price)) => {
                Err(bad(format!("{name} is {price}: a price must be 0 or more")))
            }
            None => Ok(prices),
        }
    }

    /// Returns the prices of tokens.
    pub fn of_tokens(&self) -> TokenPrices {
        TokenPrices { small: self.small, large: self.large }
    }

    /// Returns the cost of the tokens that were computed for an answer.
    pub fn tokens(&self, summary: &Summary) -> f64 {
        cost(&self.of_tokens(), summary)
    }
}

/// Returns the cost of the tokens that were computed for an answer.
pub fn cost(prices: &TokenPrices, summary: &Summary) -> f64 {
    cost_of(&prices.small, &summary.small) + cost_of(&prices.large, &summary.large)
}

/// Returns the cost of one model's tokens: those it read, those it found cached and those it wrote, each at its price.
pub fn cost_of(prices: &ModelPrices, totals: &ModelTotals) -> f64 {
    let million = totals.read_tokens() as f64 * prices.input_per_million
        + totals.cached_tokens as f64 * prices.cached_input_per_million
        + totals.written_tokens() as f64 * prices.output_per_million;
    million / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_its_price() {
        let prices = ModelPrices {
            input_per_million: 1.0,
            cached_input_per_million: 10.0,
            output_per_million: 100.0,
        };
        let totals = ModelTotals {
            prefill_tokens: 200_000,
            warm_tokens: 300_000,
            cached_tokens: 100_000,
            tokens: 30_000,
            discarded_tokens: 10_000,
            ..ModelTotals::default()
        };
        assert!((cost_of(&prices, &totals) - 5.5).abs() < 1e-9);
    }

    #[test]
    fn the_example_says_that_it_is_one() {
        let example = Prices::example().unwrap();
        assert!(example.version.contains("example") && example.note.contains("example"));
        assert!(EXAMPLE.starts_with("# AN EXAMPLE."));
        let TokenPrices { small, large } = example.of_tokens();
        for ModelPrices { input_per_million, cached_input_per_million, output_per_million } in
            [small, large]
        {
            assert!(
                input_per_million > 0.0
                    && cached_input_per_million > 0.0
                    && output_per_million > 0.0
            );
        }
        assert!(example.traffic_per_gb > 0.0);
    }

    #[test]
    fn the_documentation_shows_a_table_that_works() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/report.md");
        let text = fs::read_to_string(path).unwrap();
        let (_, toml) = text.split_once("```toml\n").unwrap();
        let shown = Prices::parse("report.md", toml.split("```").next().unwrap()).unwrap();
        let Prices { traffic_per_gb, small, large, .. } = Prices::example().unwrap();
        let prices = (shown.traffic_per_gb, shown.small, shown.large);
        assert_eq!(prices, (traffic_per_gb, small, large));
    }

    #[test]
    fn a_wrong_table_is_one_line_with_its_fault() {
        let table = [
            (EXAMPLE.replace("traffic_per_gb = 0.08", ""), "missing field `traffic_per_gb`"),
            (EXAMPLE.replace("0.60", "-0.60"), "large.input_per_million is -0.6"),
            (EXAMPLE.replace("0.60", "nan"), "large.input_per_million is NaN"),
            (EXAMPLE.replace("0.60", "\"much\""), "invalid type"),
            (EXAMPLE.replace("currency", "curency"), "unknown field `curency`"),
            ("version = ".to_owned(), "prices"),
        ];
        for (text, fault) in table {
            let error = Prices::parse("p.toml", &text).unwrap_err().to_string();
            assert!(error.contains(fault) && error.contains("p.toml"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
