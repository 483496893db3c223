//! The agent's progress port: one line per event, with the guest's uptime in front.

use std::fmt;
use std::time::Duration;

/// What the agent says it does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It has started: basic.target is reached.
    Agent,
    /// It is alive.
    Beat,
    /// `systemctl is-system-running --wait` returned with this word.
    Settled(String),
    /// It starts the payload's command.
    Command,
    /// The command left with this code.
    Exit(u8),
    /// It packs and sends the result.
    Send,
    /// The result is sent; the machine powers off.
    Sent,
    /// The guest is in emergency or rescue mode.
    Emergency,
    /// It cannot go on.
    Fail(String),
    /// A line that means none of these.
    Other(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Beat => f.write_str("beat"),
            Self::Settled(state) => write!(f, "settled {state}"),
            Self::Command => f.write_str("command"),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Send => f.write_str("send"),
            Self::Sent => f.write_str("sent"),
            Self::Emergency => f.write_str("emergency"),
            Self::Fail(message) => write!(f, "fail {message}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// An event and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Time since the guest's kernel started, by the guest's clock.
    pub uptime: Duration,
    /// What happened.
    pub event: Event,
}

impl Mark {
    /// Reads a line such as `25.40 settled running`.
    pub(crate) fn parse(line: &str) -> Self {
        let other = || Self {
            uptime: Duration::ZERO,
            event: Event::Other(line.to_owned()),
        };
        let Some((uptime, text)) = line.split_once(' ') else {
            return other();
        };
        let Some(uptime) = uptime
            .parse::<f64>()
            .ok()
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
        else {
            return other();
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let event = match (word, rest) {
            ("agent", "") => Event::Agent,
            ("beat", "") => Event::Beat,
            ("settled", state) => Event::Settled(state.to_owned()),
            ("command", "") => Event::Command,
            ("exit", code) => code
                .parse()
                .map_or_else(|_| Event::Other(text.to_owned()), Event::Exit),
            ("send", "") => Event::Send,
            ("sent", "") => Event::Sent,
            ("emergency", "") => Event::Emergency,
            ("fail", message) => Event::Fail(message.to_owned()),
            _ => Event::Other(text.to_owned()),
        };
        Self { uptime, event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_agent() {
        let check = |line: &str, millis: u64, event: Event| {
            let expect = Mark {
                uptime: Duration::from_millis(millis),
                event,
            };
            assert_eq!(Mark::parse(line), expect, "{line:?}");
        };
        check(
            "25.40 settled running",
            25_400,
            Event::Settled("running".to_owned()),
        );
        check("3.01 agent", 3_010, Event::Agent);
        check("8.00 beat", 8_000, Event::Beat);
        check("30 exit 7", 30_000, Event::Exit(7));
        check("30 exit 256", 30_000, Event::Other("exit 256".to_owned()));
        check(
            "31 fail no disk has it",
            31_000,
            Event::Fail("no disk has it".to_owned()),
        );
        check("31 dance", 31_000, Event::Other("dance".to_owned()));
        check("soon beat", 0, Event::Other("soon beat".to_owned()));
        check("-1 beat", 0, Event::Other("-1 beat".to_owned()));
        check("NaN beat", 0, Event::Other("NaN beat".to_owned()));
        check("", 0, Event::Other(String::new()));
    }
}
