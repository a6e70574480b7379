//! The door of a board: what it says of itself over HTTP, and the front door that leads to its apps.
//!
//! ```text
//! driver ──▶ View ──▶ routes ──┐
//! apps ──▶ Records ─────┘      ├── serve: sockets, TLS, bounds in number and time
//!            apps' ports ◀── front
//! ```
//!
//! It only reads what the driver leaves in a [`View`], decides nothing, and changes nothing on the board.
//! Where neither `[door]` nor `[front]` is open, a view keeps nothing and no task runs.

mod answers;
mod body;
mod certificate;
mod front;
mod guard;
mod history;
mod metrics;
mod page;
mod routes;
mod serve;
mod settings;
mod view;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{apps::Ports, config::Config};
use front::Front;
use guard::Guard;
use routes::Door;
use serve::{Room, Service};
pub(crate) use settings::MODE;
pub use settings::{Certificate, FrontSettings, Place, Settings, Token};
pub(crate) use view::{Trust, View};

/// The doors that are open. Dropped, they are shut, and nobody is served any more.
pub(crate) struct Doors(JoinSet<()>);

impl Doors {
    /// Opens what the configuration says. What cannot be opened is said, and tried again.
    pub(crate) fn open(config: &Config, view: &View, ports: &Ports) -> Self {
        let mut tasks = JoinSet::new();
        if let Some(door) = &config.door {
            for place in &door.places {
                let guard = Guard::new(place, door.token.clone());
                let room = Room::Door(Arc::new(Door::new(view.clone(), guard)));
                let service = Service { place: place.clone(), certificate: door.certificate.clone(), room };
                tasks.spawn(service.run());
            }
        }
        if let Some(settings) = &config.front {
            let front = Arc::new(Front::new(view.clone(), settings, ports.clone()));
            for place in &settings.places {
                let certificate = settings.certificate.clone();
                let service = Service { place: place.clone(), certificate, room: Room::Front(Arc::clone(&front)) };
                tasks.spawn(service.run());
            }
        }
        if !tasks.is_empty() {
            tasks.spawn(history::keep(view.clone(), config.state_dir.clone()));
        }
        Self(tasks)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}
