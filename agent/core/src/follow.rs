//! Who follows what apps print, and which of their lines are sent when.
//!
//! A follower asks again and again; who stops asking is forgotten. What apps printed stays where it is, in a
//! bounded place, and is numbered: what is gone from there before its turn is missed, and its numbers say so.

use alloc::collections::BTreeMap;

use crate::{
    Moment,
    limits::{FOLLOW_MS, FOLLOW_PAUSE_MS, FOLLOWED_APPS_MAX},
    wire::AppName,
};

/// The apps that somebody follows.
#[derive(Clone, Debug, Default)]
pub struct Follows(BTreeMap<AppName, Follow>);

#[derive(Clone, Copy, Debug)]
struct Follow {
    /// When it ends, unless it is asked for again.
    until: Moment,
    /// When the next lines may be sent.
    next: Moment,
    /// The last line that was sent.
    sent: u64,
}

impl Follows {
    /// Somebody asks for an app's lines. Who is new asks from the beginning of what there is; `newest` is the
    /// number of the last line. Answers whether they get any: only so many apps are followed at a time.
    pub fn handle_request(&mut self, app: &AppName, from_the_beginning: bool, newest: u64, now: Moment) -> bool {
        self.0.retain(|_, follow| follow.until > now);
        let room = self.0.len() < FOLLOWED_APPS_MAX;
        let fresh = Follow { until: now, next: now, sent: newest };
        let follow = match self.0.get_mut(app) {
            Some(known) => known,
            None if room => self.0.entry(app.clone()).or_insert(fresh),
            None => return false,
        };
        follow.until = now + FOLLOW_MS;
        if from_the_beginning {
            follow.sent = 0;
        }
        true
    }

    /// The connection is gone, and whoever followed over it has to ask again.
    pub fn handle_disconnected(&mut self) {
        self.0.clear();
    }

    /// An app whose lines may be sent now if there are any after the one with this number, which was the last.
    pub fn poll(&mut self, now: Moment) -> impl Iterator<Item = (&AppName, u64)> {
        self.0.retain(|_, follow| follow.until > now);
        self.0.iter().filter(move |(_, follow)| follow.next <= now).map(|(app, follow)| (app, follow.sent))
    }

    /// An app's lines up to this number were sent, or there were none.
    pub fn handle_sent(&mut self, app: &AppName, sent: u64, now: Moment) {
        if let Some(follow) = self.0.get_mut(app) {
            (follow.sent, follow.next) = (sent, now + FOLLOW_PAUSE_MS);
        }
    }

    /// When to look again.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.0.values().map(|follow| follow.next.min(follow.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec::Vec};

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    fn due(follows: &mut Follows, now: u64) -> Vec<(AppName, u64)> {
        follows.poll(Moment(now)).map(|(app, sent)| (app.clone(), sent)).collect()
    }

    #[test]
    fn lines_are_sent_while_somebody_asks_and_with_pauses() {
        let (mut follows, a) = (Follows::default(), app("a"));
        assert_eq!(follows.poll_timeout(), None);
        assert!(follows.handle_request(&a, true, 9, Moment(0)));
        assert_eq!(due(&mut follows, 0), [(a.clone(), 0)]);
        follows.handle_sent(&a, 9, Moment(0));
        assert_eq!(due(&mut follows, FOLLOW_PAUSE_MS - 1), []);
        assert_eq!(follows.poll_timeout(), Some(Moment(FOLLOW_PAUSE_MS)));
        assert_eq!(due(&mut follows, FOLLOW_PAUSE_MS), [(a.clone(), 9)]);
        // Asked again, it goes on where it was.
        assert!(follows.handle_request(&a, false, 12, Moment(FOLLOW_MS - 1)));
        assert_eq!(due(&mut follows, FOLLOW_MS), [(a.clone(), 9)]);
        assert_eq!(due(&mut follows, 2 * FOLLOW_MS - 1), [], "nobody asked any more");
        assert_eq!(follows.poll_timeout(), None);
        // Another follower is new, and gets what there is.
        assert!(follows.handle_request(&a, false, 12, Moment(0)));
        assert_eq!(due(&mut follows, 0), [(a.clone(), 12)]);
        assert!(follows.handle_request(&a, true, 12, Moment(1)));
        assert_eq!(due(&mut follows, 1), [(a.clone(), 0)]);
        follows.handle_disconnected();
        assert_eq!(due(&mut follows, 1), []);
    }

    #[test]
    fn only_so_many_apps_are_followed() {
        let mut follows = Follows::default();
        for number in 0..FOLLOWED_APPS_MAX {
            assert!(follows.handle_request(&app(&format!("a{number}")), true, 0, Moment(0)));
        }
        assert!(!follows.handle_request(&app("b"), true, 0, Moment(1)));
        assert!(follows.handle_request(&app("a0"), true, 0, Moment(1)), "it is followed already");
        assert!(follows.handle_request(&app("b"), true, 0, Moment(FOLLOW_MS)), "the others are over");
    }
}
