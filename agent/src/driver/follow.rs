//! What apps print, for those who follow it: from the records to the broker, when it is their turn.

use dunlin_core::{
    limits::FOLLOW_BYTES_MAX,
    wire::{
        AppName, Topic,
        state::{Line, Lines},
    },
};

use super::Driver;

/// What a follower says who has nothing yet. Anything else is from one who wants more.
const NEW: &[u8] = b"new";

impl Driver {
    /// Somebody asks for an app's lines. An app that is not here says nothing.
    pub(super) fn handle_follow(&mut self, app: &AppName, payload: &[u8]) {
        let Some(record) = self.around.records.find(app).filter(|_| self.policy.follow) else { return };
        let (newest, new) = (record.figures().lines, payload == NEW);
        let follows = self.follows.handle_request(app, new, newest, self.around.clock.now());
        if follows && new && newest == 0 {
            // That there is none is an answer, too.
            self.publish_lines(app, Vec::new());
        }
    }

    /// Publishes what followed apps printed since the last time, while nothing more important waits.
    pub(super) fn send_lines(&mut self) {
        let now = self.around.clock.now();
        if !self.may_send_lines() {
            return;
        }
        let due: Vec<_> = self.follows.poll(now).map(|(app, sent)| (app.clone(), sent)).collect();
        for (app, sent) in due {
            let lines = self.around.records.find(&app).map(|record| record.lines(sent, usize::MAX));
            let lines = fitting(lines.unwrap_or_default().into_iter().map(|line| Line {
                number: line.number,
                at: line.at,
                stream: line.stream.into(),
                text: line.text,
            }));
            self.follows.handle_sent(&app, lines.last().map_or(sent, |line| line.number), now);
            if !lines.is_empty() {
                self.publish_lines(&app, lines);
            }
        }
    }

    /// As long as the outbox is full, what is printed waits in the records, or is missed.
    pub(super) fn may_send_lines(&self) -> bool {
        self.connected && self.link.waiting() < dunlin_core::limits::APP_OUTBOX_MAX
    }

    fn publish_lines(&mut self, app: &AppName, lines: Vec<Line>) {
        // Our own types always have a JSON form.
        if let Ok(json) = serde_json::to_vec(&Lines { since: self.started, lines }) {
            self.link.publish(self.topics.format(&Topic::Log(self.device.clone(), app.clone())), json, false);
        }
    }
}

/// The first of these lines, as many as one message takes; one at least.
fn fitting(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut bytes = 0;
    let fits = |line: &Line| {
        let first = bytes == 0;
        bytes += serde_json::to_vec(line).map_or(0, |json| json.len() + 1);
        first || bytes <= FOLLOW_BYTES_MAX
    };
    lines.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::Timestamp;

    #[test]
    fn a_message_has_as_many_lines_as_fit() {
        let line = |number, text: String| Line { number, at: Timestamp(1), stream: "stdout".into(), text };
        let fitting = |text: &str| fitting((1..200).map(|number| line(number, text.into()))).len();
        assert_eq!(fitting("x"), 199);
        // A control character is six bytes in JSON.
        assert_eq!(fitting(&"\u{1}".repeat(400)), FOLLOW_BYTES_MAX / (6 * 400 + 55));
        assert_eq!(fitting(&"\u{1}".repeat(4_096)), 1);
    }
}
