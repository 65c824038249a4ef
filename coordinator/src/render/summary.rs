//! The closing summary of an answer, in a few aligned lines.

use std::io::{self, Write};

use answer::{
    Traffic,
    account::{ModelTotals, Summary, TimeSplit},
    prices::cost_of,
};
use grading::quantile::quantile;
use thinking::policy::{End, TokenPrices};

/// Writes the summary, with the cost at these prices. Lines that would say nothing are left out.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_summary(
    out: &mut impl Write,
    summary: &Summary,
    prices: Option<&TokenPrices>,
) -> io::Result<()> {
    let time = &summary.time;
    let rate = per_second(summary.tokens(), time.total_us);
    let first = time
        .first_text_us
        .map_or_else(|| "no text".to_owned(), |us| format!("first text after {}", seconds(us)));
    writeln!(out, "--")?;
    writeln!(
        out,
        "answer     {} tokens in {} ({rate}), {first}; {}",
        summary.tokens(),
        seconds(time.total_us),
        end_line(summary),
    )?;
    writeln!(
        out,
        "tokens     small {}, large {}{}; takeover share {:.1} %",
        model_tokens(&summary.small),
        model_tokens(&summary.large),
        if summary.inserted_tokens > 0 {
            format!(", inserted {}", summary.inserted_tokens)
        } else {
            String::new()
        },
        100.0 * summary.takeover_share(),
    )?;
    takeover_lines(out, summary)?;
    time_line(out, time)?;
    writeln!(
        out,
        "cached     small {} tokens (prompt {}), large {} (prompt {}); read ahead: small {} tokens, large {}",
        summary.small.cached_tokens,
        summary.small.prompt_tokens,
        summary.large.cached_tokens,
        summary.large.prompt_tokens,
        summary.small.warm_tokens,
        summary.large.warm_tokens,
    )?;
    computing_lines(out, summary, prices)?;
    if summary.small.traffic.is_some() || summary.large.traffic.is_some() {
        let (small, large) = (traffic(&summary.small), traffic(&summary.large));
        writeln!(out, "bytes      small {small}; large {large}")?;
    }
    repaired_line(out, summary)?;
    if summary.loops > 0 {
        writeln!(out, "loops      {}: the text repeated itself to the byte", summary.loops)?;
    }
    if let Some(failure) = &summary.failure {
        writeln!(out, "failed     {failure}")?;
    }
    if let Some(reason) = &summary.degraded {
        writeln!(out, "degraded   {reason}")?;
    }
    Ok(())
}

fn computing_lines(
    out: &mut impl Write,
    summary: &Summary,
    prices: Option<&TokenPrices>,
) -> io::Result<()> {
    let (small, large) = (computed(&summary.small), computed(&summary.large));
    writeln!(out, "computing  small {small}; large {large}")?;
    let Some(TokenPrices { small, large }) = prices else { return Ok(()) };
    let (small, large) = (cost_of(small, &summary.small), cost_of(large, &summary.large));
    writeln!(out, "cost       {:.7}: small {small:.7}, large {large:.7}", small + large)
}

/// Returns how many tokens a model read and wrote, in how many passes, and how many operations that took.
fn computed(totals: &ModelTotals) -> String {
    let (read, written) = (totals.read_tokens(), totals.written_tokens());
    let passes = match totals.passes_milli {
        0 => String::new(),
        milli => format!(" in {:.1} passes", milli as f64 / 1e3),
    };
    let operations = match totals.operations() {
        Some(operations) if operations > 0.0 => format!(", {:.3} GFLOP", operations / 1e9),
        _ => String::new(),
    };
    format!("read {read} and wrote {written} tokens{passes}{operations}")
}

fn repaired_line(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let Summary { hash_repairs, resumes, large_resumes, rejoins, .. } = summary;
    if hash_repairs + resumes + large_resumes + rejoins == 0 {
        return Ok(());
    }
    let large_replaced = match large_resumes {
        0 => String::new(),
        times => format!("large node replaced {times} times, "),
    };
    writeln!(
        out,
        "repaired   text sent again {hash_repairs} times, small node replaced {resumes} times, \
         {large_replaced}large node back {rejoins} times"
    )
}

/// Writes where the wall time went.
fn time_line(out: &mut impl Write, time: &TimeSplit) -> io::Result<()> {
    let verdicts = match time.verdicts_us {
        0 => String::new(),
        waited_us => format!("verdicts {}, ", seconds(waited_us)),
    };
    writeln!(
        out,
        "time       small decode {}, small prefill {}, large decode {}, large prefill {}, \
         queue {}, network {}, {verdicts}other {}",
        seconds(time.small.decode_us),
        seconds(time.small.prefill_us),
        seconds(time.large.decode_us),
        seconds(time.large.prefill_us),
        seconds(time.small.queue_us + time.large.queue_us),
        seconds(time.network_us()),
        seconds(time.other_us),
    )
}

fn takeover_lines(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let takeovers = &summary.takeovers;
    let abandoned = match summary.abandoned {
        0 => String::new(),
        count => format!("; {count} more abandoned (late, or the node unreachable)"),
    };
    let passed_over = match summary.passed_over {
        0 => String::new(),
        count => format!("; {count} more passed over to keep the target"),
    };
    let corrections = match summary.corrections {
        0 => String::new(),
        1 => "; 1 correction".to_owned(),
        count => format!("; {count} corrections"),
    };
    let hedges = match summary.hedges {
        0 => String::new(),
        count => format!("; {count} hedged, {} of them won by the second node", summary.hedges_won),
    };
    if takeovers.is_empty() {
        return writeln!(out, "takeovers  none{corrections}{abandoned}{passed_over}{hedges}");
    }
    let reasons: Vec<String> = summary
        .takeovers_by_reason()
        .into_iter()
        .map(|(why, count)| format!("{why} {count}"))
        .collect();
    let prefill: u64 = takeovers.iter().map(|t| u64::from(t.prefill_tokens)).sum();
    let handoff = match median(takeovers.iter().filter_map(|t| t.handoff_us)) {
        Some(us) => format!("first text after {} (median)", seconds(us)),
        None => "no text".to_owned(),
    };
    writeln!(
        out,
        "takeovers  {} ({}); {handoff}; {prefill} tokens still had to be prefilled ({:.1} each)\
         {corrections}{abandoned}{passed_over}{hedges}",
        takeovers.len(),
        reasons.join(", "),
        prefill as f64 / takeovers.len() as f64,
    )
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    quantile(&values, 0.5)
}

fn end_line(summary: &Summary) -> &'static str {
    match summary.end {
        Some(End::EndOfText) => "the model ended it",
        Some(End::MaxTokens) => "cut off by --max-tokens",
        Some(End::ContextFull) => "cut off: a model's context is full",
        Some(End::Deadline) => "cut off by the deadline",
        Some(End::Cancelled) => "cancelled",
        Some(End::Loop) => "cut off: it repeats itself in a loop",
        Some(End::Stop) => "ended at a --stop text",
        None => "failed",
    }
}

fn model_tokens(totals: &ModelTotals) -> String {
    let discarded = match totals.discarded_tokens {
        0 => String::new(),
        discarded => format!(" (and {discarded} discarded)"),
    };
    let model =
        if totals.model.is_empty() { String::new() } else { format!(" by {}", totals.model) };
    format!("{}{model}{discarded}", totals.tokens)
}

fn traffic(totals: &ModelTotals) -> String {
    match totals.traffic {
        Some(Traffic { sent_bytes, received_bytes, requests }) => {
            let requests = match requests {
                0 => String::new(),
                _ => format!(" in {requests} requests"),
            };
            format!("{} sent, {} received{requests}", bytes(sent_bytes), bytes(received_bytes))
        }
        None => "not counted".to_owned(),
    }
}

fn seconds(us: u64) -> String {
    if us < 10_000_000 {
        format!("{:.3} s", us as f64 / 1e6)
    } else {
        format!("{:.1} s", us as f64 / 1e6)
    }
}

fn bytes(bytes: u64) -> String {
    if bytes < 10_000 { format!("{bytes} B") } else { format!("{:.1} kB", bytes as f64 / 1e3) }
}

fn per_second(tokens: u64, us: u64) -> String {
    if us == 0 {
        return "no time".to_owned();
    }
    format!("{:.1} tokens/s", tokens as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use answer::{
        Takeover,
        account::{Spent, TimeSplit},
    };
    use thinking::policy::{ModelPrices, Why};

    use super::*;

    /// To accept a change: `INSTA_UPDATE=always cargo test -p coordinator --lib summary`, and read the diff.
    #[test]
    fn a_summary_of_everything_reads_like_this() {
        let spent = |queue_us, prefill_us, decode_us, network_us| Spent {
            queue_us,
            prefill_us,
            decode_us,
            network_us,
        };
        let totals = |model: &str, tokens, discarded_tokens| ModelTotals {
            model: model.to_owned(),
            tokens,
            discarded_tokens,
            prompt_tokens: 60,
            prefill_tokens: 70,
            warm_tokens: 90,
            cached_tokens: 40,
            passes_milli: 12_500,
            parameters: 1_500_000_000,
            ..ModelTotals::default()
        };
        let takeover = |tokens, handoff_us| Takeover {
            ask: 1,
            why: Why::Reflection,
            tokens,
            text_bytes: 80,
            interrupted: false,
            prefill_tokens: 3,
            handoff_us: Some(handoff_us),
            wall_us: handoff_us + 300_000,
            spent: spent(0, 5_000, 300_000, 70_000),
        };
        let summary = Summary {
            end: Some(End::EndOfText),
            takeovers: vec![takeover(20, 75_000), takeover(31, 140_000)],
            corrections: 3,
            small: totals("small-model", 150, 12),
            large: ModelTotals {
                traffic: Some(Traffic { sent_bytes: 1_234, received_bytes: 5_678, requests: 0 }),
                ..totals("large-model", 54, 0)
            },
            time: TimeSplit {
                total_us: 4_321_000,
                first_text_us: Some(65_000),
                small: spent(0, 40_000, 2_800_000, 2_000),
                large: spent(1_000, 10_000, 600_000, 150_000),
                verdicts_us: 700_000,
                other_us: 18_000,
            },
            ..Summary::default()
        };
        let price = |each| ModelPrices {
            input_per_million: each,
            cached_input_per_million: each / 10.0,
            output_per_million: 10.0 * each,
        };
        let prices = TokenPrices { small: price(0.1), large: price(2.0) };
        let mut out = Vec::new();
        write_summary(&mut out, &summary, Some(&prices)).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn loops_are_shown_if_there_were_any() {
        for (loops, told) in
            [(0, None), (2, Some("loops      2: the text repeated itself to the byte"))]
        {
            let mut out = Vec::new();
            let summary = Summary { loops, end: Some(End::Loop), ..Summary::default() };
            write_summary(&mut out, &summary, None).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("cut off: it repeats itself in a loop"), "{text}");
            assert_eq!(text.lines().find(|line| line.starts_with("loops")), told);
        }
    }

    #[test]
    fn corrections_are_shown_beside_the_takeovers() {
        for (corrections, abandoned, told) in [
            (0, 0, "takeovers  none"),
            (1, 0, "takeovers  none; 1 correction"),
            (
                12,
                2,
                "takeovers  none; 12 corrections; 2 more abandoned (late, or the node unreachable)",
            ),
        ] {
            let mut out = Vec::new();
            let summary = Summary { corrections, abandoned, ..Summary::default() };
            write_summary(&mut out, &summary, None).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().any(|line| line == told), "{told}: {text}");
        }
    }

    #[test]
    fn what_was_computed_is_shown_and_what_it_costs_if_prices_are_known() {
        let small = ModelTotals {
            tokens: 30,
            discarded_tokens: 10,
            prefill_tokens: 5,
            warm_tokens: 15,
            ..ModelTotals::default()
        };
        let large = ModelTotals {
            tokens: 2,
            warm_tokens: 98,
            cached_tokens: 50,
            passes_milli: 7500,
            parameters: 5_000_000,
            ..ModelTotals::default()
        };
        let summary = Summary { small, large, ..Summary::default() };
        let price = |each| ModelPrices {
            input_per_million: each,
            cached_input_per_million: each / 10.0,
            output_per_million: 10.0 * each,
        };
        let prices = TokenPrices { small: price(1.0), large: price(10.0) };
        let lines = |prices| {
            let mut out = Vec::new();
            write_summary(&mut out, &summary, prices).unwrap();
            String::from_utf8(out).unwrap()
        };
        let computing = "computing  small read 20 and wrote 40 tokens; large read 98 and wrote 2 tokens in 7.5 passes, \
                         1.000 GFLOP";
        let cost = "cost       0.0016500: small 0.0004200, large 0.0012300";
        let with = lines(Some(&prices));
        assert!([computing, cost].iter().all(|line| with.lines().any(|it| it == *line)), "{with}");
        assert!(!lines(None).contains("cost "));
    }

    #[test]
    fn the_median_of_two_is_the_lower_as_in_the_lab() {
        for (values, expected) in
            [(&[][..], None), (&[9], Some(9)), (&[9, 4], Some(4)), (&[9, 2, 4], Some(4))]
        {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }
}
