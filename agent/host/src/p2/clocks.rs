//! `wasi:clocks`.

use std::time::Duration;

use rustix::time::{ClockId, Timespec};
use tokio::time::Instant;

use super::abi::wit_record;
use super::call::{Cx, Stop};
use super::handles::Own;
use super::io::Pollable;
use crate::p1::clock::now;

wit_record! {
    #[derive(Copy)]
    pub(super) struct Datetime {
        seconds: u64 = "seconds",
        nanoseconds: u32 = "nanoseconds",
    }
}
wit_record!(lift Datetime { seconds, nanoseconds });
wit_record!(lower Datetime { seconds, nanoseconds });

wit_record! {
    pub(super) struct TimezoneDisplay {
        utc_offset: i32 = "utc-offset",
        name: String = "name",
        in_daylight_saving_time: bool = "in-daylight-saving-time",
    }
}
wit_record!(lower TimezoneDisplay { utc_offset, name, in_daylight_saving_time });

pub(super) fn monotonic_now(_: &mut Cx<'_>) -> Result<u64, Stop> {
    Ok(now(ClockId::Monotonic))
}

pub(super) fn monotonic_resolution(_: &mut Cx<'_>) -> Result<u64, Stop> {
    let Datetime { seconds, nanoseconds } = datetime(rustix::time::clock_getres(ClockId::Monotonic));
    Ok((seconds * 1_000_000_000 + u64::from(nanoseconds)).max(1))
}

pub(super) fn subscribe_instant(cx: &mut Cx<'_>, when: u64) -> Result<Own<Pollable>, Stop> {
    timer(cx, when.saturating_sub(now(ClockId::Monotonic)))
}

pub(super) fn subscribe_duration(cx: &mut Cx<'_>, duration: u64) -> Result<Own<Pollable>, Stop> {
    timer(cx, duration)
}

fn timer(cx: &mut Cx<'_>, nanoseconds: u64) -> Result<Own<Pollable>, Stop> {
    let due = Instant::now().checked_add(Duration::from_nanos(nanoseconds));
    Ok(cx.state.p2.handles.push(Pollable::Timer(due))?)
}

pub(super) fn wall_now(_: &mut Cx<'_>) -> Result<Datetime, Stop> {
    Ok(datetime(rustix::time::clock_gettime(ClockId::Realtime)))
}

pub(super) fn wall_resolution(_: &mut Cx<'_>) -> Result<Datetime, Stop> {
    Ok(datetime(rustix::time::clock_getres(ClockId::Realtime)))
}

/// A guest is told no time zone: where a board stands is not its business.
pub(super) fn display(cx: &mut Cx<'_>, when: Datetime) -> Result<TimezoneDisplay, Stop> {
    let utc_offset = utc_offset(cx, when)?;
    Ok(TimezoneDisplay { utc_offset, name: "UTC".to_owned(), in_daylight_saving_time: false })
}

pub(super) fn utc_offset(_: &mut Cx<'_>, _: Datetime) -> Result<i32, Stop> {
    Ok(0)
}

/// A board whose clock was never set is at its beginning, not before it.
fn datetime(time: Timespec) -> Datetime {
    Datetime { seconds: u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds: u32::try_from(time.tv_nsec).unwrap_or(0) }
}
