//! Splits bytes into events as they arrive: server-sent events, of which only `data` is used, and lines of JSON, each
//! of which is an event.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>. Every supported
//! server ends its lines with "\n" or "\r\n".

/// The limit for the data of one event, in bytes.
const MOST_BYTES: usize = 16 << 20;

/// Splits a stream of server-sent events.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    /// Received bytes that are not a whole line yet.
    rest: Vec<u8>,
    /// The data of the event that has begun.
    data: Option<String>,
}

/// Splits a stream of lines, each of which is an event.
#[derive(Debug, Default)]
pub(crate) struct LineParser {
    /// Received bytes that are not a whole line yet.
    rest: Vec<u8>,
}

impl LineParser {
    /// Adds bytes; returns the lines that are complete now and not empty.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, NoEvents> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return if self.rest.len() > MOST_BYTES { Err(NoEvents) } else { Ok(Vec::new()) };
        };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = String::from_utf8(lines).map_err(|_| NoEvents)?;
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(str::to_owned).collect())
    }
}

/// The error for a stream that is not a stream of events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoEvents;

impl SseParser {
    /// Adds bytes; returns the data of the events that are complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, NoEvents> {
        self.rest.extend_from_slice(bytes);
        let mut complete = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.rest[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| NoEvents)?;
            if line.is_empty() {
                complete.extend(self.data.take());
            } else if let Some(value) = line.strip_prefix("data:") {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match &mut self.data {
                    Some(data) => *data = format!("{data}\n{value}"),
                    None => self.data = Some(value.to_owned()),
                }
            }
            start += length + 1;
        }
        self.rest.drain(..start);
        let held = self.rest.len() + self.data.as_ref().map_or(0, String::len);
        if held > MOST_BYTES { Err(NoEvents) } else { Ok(complete) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        ": ping\n\n",
        "data: {\"a\":\"é🙂\"}\r\n\r\n",
        "event: x\ndata:two\ndata:  lines\nid: 7\n\n",
        "data: [DONE]\n\nrest",
    );

    #[test]
    fn events_are_their_data() {
        let mut parser = SseParser::default();
        let events = parser.push(STREAM.as_bytes()).unwrap();
        assert_eq!(events, ["{\"a\":\"é🙂\"}", "two\n lines", "[DONE]"]);
    }

    #[test]
    fn what_is_no_text_or_never_ends_is_no_stream_of_events() {
        assert_eq!(SseParser::default().push(b"data: \xff\n"), Err(NoEvents));
        let mut parser = SseParser::default();
        let long = vec![b'x'; MOST_BYTES];
        parser.push(&long).unwrap();
        assert_eq!(parser.push(b"x"), Err(NoEvents));
    }

    #[test]
    fn a_line_is_an_event() {
        let mut parser = LineParser::default();
        assert_eq!(parser.push("{\"a\":\"é".as_bytes()), Ok(vec![]));
        assert_eq!(parser.push(b"\"}\r\n\n{}\n{"), Ok(vec!["{\"a\":\"é\"}".into(), "{}".into()]));
        assert_eq!(parser.push(b"\xff\n"), Err(NoEvents));
        assert_eq!(LineParser::default().push(&vec![b'x'; MOST_BYTES + 1]), Err(NoEvents));
    }

    proptest! {
        #[test]
        fn the_cuts_between_packets_do_not_matter(lengths in prop::collection::vec(1usize..9, 1..9)) {
            let (mut parser, mut events, mut left) = (SseParser::default(), Vec::new(), STREAM.as_bytes());
            for &length in lengths.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (packet, rest) = left.split_at(length.min(left.len()));
                events.extend(parser.push(packet).unwrap());
                left = rest;
            }
            prop_assert_eq!(events, SseParser::default().push(STREAM.as_bytes()).unwrap());
        }
    }
}
