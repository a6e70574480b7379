//! What an app gets: what its release asks for, as the plan fills it in, within the device's policy.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{assign, name, release};
use dunlin_core::{
    Code, limits,
    policy::{Listener, Policy, Setup, admit, widening},
    wire::{Asks, Assignment, Listen, Mount, Protocol, Publish, Release, Sealed},
};

fn admitted(change: impl FnOnce(&mut Policy, &mut Release, &mut Assignment)) -> Result<Setup, Code> {
    let (mut policy, mut release) = (Policy::default(), release("hello", 1));
    let mut assignment = assign(&release);
    change(&mut policy, &mut release, &mut assignment);
    admit(&policy, &release, &assignment).map_err(|refusal| refusal.code)
}

fn ports(setup: &Setup) -> Vec<(u16, Option<u16>)> {
    setup.listen.iter().map(|listener| (listener.guest, listener.host)).collect()
}

#[test]
fn what_a_release_asks_for_is_what_it_gets() {
    let setup = admitted(|_, _, _| {}).unwrap();
    let release = release("hello", 1);
    let env = vec![(name("GREETING"), "Hello".into()), (name("SITE"), "kitchen".into())];
    assert_eq!(setup.args, release.asks.args);
    assert_eq!(setup.env, env);
    assert_eq!(setup.listen, [Listener { guest: 7878, host: Some(8080), protocol: Protocol::Tcp, nonblocking: false }]);
    assert_eq!(setup.memory_bytes, limits::GUEST_MEMORY_BYTES);
    assert_eq!((setup.health, setup.restart), (release.health, release.restart));
}

#[test]
fn memory_is_what_it_asks_for_within_what_the_device_allows() {
    let memory = |asks, max| {
        let setup = admitted(|policy, release, _| {
            policy.memory_bytes_max = max;
            release.asks.memory_bytes = asks;
        });
        setup.map(|setup| setup.memory_bytes)
    };
    assert_eq!(memory(1000, 1000), Ok(1000));
    assert_eq!(memory(1001, 1000), Err(Code::Policy));
    assert_eq!(memory(0, 1000), Ok(1000), "one that does not say takes what there is");
    assert_eq!(memory(0, 1 << 40), Ok(limits::GUEST_MEMORY_BYTES));
}

#[test]
fn the_plan_publishes_ports_instead_of_the_release() {
    let publish = |pairs: &[(u16, u16)]| {
        let publish =
            pairs.iter().map(|(host, guest)| Publish { host: *host, guest: *guest, protocol: Protocol::Tcp }).collect();
        admitted(|_, release, assignment| {
            release.asks.listen.push(Listen { guest: 9000, host: None, protocol: Protocol::Tcp, nonblocking: true });
            assignment.publish = Some(publish);
        })
    };
    assert_eq!(ports(&publish(&[]).unwrap()), [(7878, None), (9000, None)], "nothing at all");
    assert_eq!(ports(&publish(&[(2000, 9000)]).unwrap()), [(7878, None), (9000, Some(2000))]);
    assert_eq!(ports(&publish(&[(2000, 9000), (3000, 7878)]).unwrap()), [(7878, Some(3000)), (9000, Some(2000))]);
    assert!(publish(&[]).unwrap().listen[1].nonblocking, "as the release says");
    assert_eq!(publish(&[(2000, 9001)]), Err(Code::Policy), "a port that it does not listen on");
}

#[test]
fn no_port_below_the_devices_lowest_whoever_publishes_it() {
    let released = |host, port_min| {
        admitted(|policy, release, _| {
            policy.port_min = port_min;
            release.asks.listen[0].host = Some(host);
        })
        .map(|setup| ports(&setup))
    };
    let planned = |host, port_min| {
        admitted(|policy, _, assignment| {
            policy.port_min = port_min;
            assignment.publish = Some(vec![Publish { host, guest: 7878, protocol: Protocol::Tcp }]);
        })
        .map(|setup| ports(&setup))
    };
    for (host, port_min, outcome) in [
        (1024, 1024, Ok(vec![(7878, Some(1024))])),
        (1023, 1024, Err(Code::Policy)),
        (80, 80, Ok(vec![(7878, Some(80))])),
        (79, 80, Err(Code::Policy)),
    ] {
        assert_eq!(released(host, port_min), outcome);
        assert_eq!(planned(host, port_min), outcome);
    }
    assert_eq!(Policy::default().port_min, 1024);
}

/// A guest's own port is its own affair: nobody on the board sees it.
#[test]
fn the_guests_own_port_is_not_bound_by_the_policy() {
    let setup = admitted(|_, release, _| {
        release.asks.listen[0] = Listen { guest: 80, host: None, protocol: Protocol::Tcp, nonblocking: false }
    });
    assert_eq!(ports(&setup.unwrap()), [(80, None)]);
}

#[test]
fn the_environment_is_what_the_release_asks_for_and_no_more() {
    let env = |pairs: &[(&str, &str)]| {
        let env = pairs.iter().map(|(key, value)| (name(key), (*value).into())).collect();
        admitted(|_, _, assignment| assignment.env = env)
            .map(|setup| setup.env.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
    };
    let of = |texts: [&str; 2]| Ok(texts.map(String::from).into());
    assert_eq!(env(&[("SITE", "hall")]), of(["GREETING=Hello", "SITE=hall"]));
    assert_eq!(env(&[("SITE", ""), ("GREETING", "Moin")]), of(["GREETING=Moin", "SITE="]), "in the release's order");
    assert_eq!(env(&[]), Err(Code::Policy), "SITE has no value of its own");
    assert_eq!(env(&[("SITE", "hall"), ("LD_PRELOAD", "x")]), Err(Code::Policy));
}

#[test]
fn the_plans_arguments_stand_in_for_the_releases() {
    let args = |args: Option<Vec<String>>| admitted(|_, _, assignment| assignment.args = args).unwrap().args;
    assert_eq!(args(Some(vec!["--loud".into()])), ["--loud"]);
    assert_eq!(args(Some(vec![])), [""; 0]);
    assert_eq!(args(None), ["--quiet"]);
}

#[test]
fn a_release_may_keep_its_arguments_to_itself() {
    let given = admitted(|_, release, assignment| {
        release.asks.free_args = false;
        assignment.args = Some(vec!["--loud".into()]);
    });
    assert_eq!(given.unwrap_err(), Code::Policy);
    assert_eq!(admitted(|_, release, _| release.asks.free_args = false).unwrap().args, ["--quiet"]);
}

#[test]
fn any_difference_in_a_setup_shows_in_its_digest() {
    let one = admitted(|_, _, _| {}).unwrap();
    let changes: [fn(&mut Setup); 8] = [
        |s| s.args.push("x".into()),
        |s| s.env[0].1.push('x'),
        |s| s.env.swap(0, 1),
        |s| s.listen[0].host = None,
        |s| s.listen[0].nonblocking = true,
        |s| s.memory_bytes += 1,
        |s| s.health.failures += 1,
        |s| s.restart = dunlin_core::wire::Restart::Never,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = one.clone();
        change(&mut other);
        assert_ne!(other.digest(), one.digest(), "change {number}");
    }
    assert_eq!(one.clone().digest(), one.digest());
}

#[test]
fn a_release_that_asks_for_more_says_for_what() {
    let asks = release("hello", 1).asks;
    let wider = |change: &dyn Fn(&mut Asks)| {
        let mut more = asks.clone();
        change(&mut more);
        widening(Some(&asks), &more)
    };
    assert_eq!(wider(&|_| {}), None);
    assert_eq!(wider(&|a| a.listen.clear()), None, "less is no more");
    assert_eq!(wider(&|a| a.listen[0].host = Some(80)).as_deref(), Some("port 80:7878"));
    assert_eq!(wider(&|a| a.listen[0].guest = 1).as_deref(), Some("port 8080:1"));
    assert_eq!(wider(&|a| a.env[0].0 = name("TOKEN")).as_deref(), Some("environment variable TOKEN"));
    assert_eq!(wider(&|a| a.memory_bytes = 1).as_deref(), Some("1 bytes of memory"));
    let closed = Asks { free_args: false, ..asks.clone() };
    assert_eq!(widening(Some(&closed), &asks).as_deref(), Some("arguments of the deploy's choice"));
    assert!(widening(None, &asks).is_some(), "an app that never ran was granted nothing");
}

#[test]
fn a_port_for_datagrams_is_another_than_the_one_for_connections() {
    let publish = |protocol| {
        admitted(|_, release, assignment| {
            release.asks.listen.push(Listen {
                guest: 53,
                host: Some(5353),
                protocol: Protocol::Udp,
                nonblocking: false,
            });
            assignment.publish = Some(vec![Publish { host: 5300, guest: 53, protocol }]);
        })
    };
    assert_eq!(ports(&publish(Protocol::Udp).unwrap()), [(7878, None), (53, Some(5300))]);
    assert_eq!(publish(Protocol::Tcp), Err(Code::Policy));
}

#[test]
fn data_and_directories_are_those_that_the_device_has() {
    let data = |bytes, max| {
        admitted(|policy, release, _| {
            policy.data_bytes_max = max;
            release.asks.data_bytes = bytes;
        })
        .map(|setup| setup.data_bytes)
    };
    assert_eq!(data(0, 0), Ok(0));
    assert_eq!(data(1000, 1000), Ok(1000));
    assert_eq!(data(1001, 1000), Err(Code::Policy));
    let mount = |write, shared: &[(&str, bool)]| {
        admitted(|policy, release, _| {
            policy.mounts = shared.iter().map(|(text, write)| (name(text), *write)).collect();
            release.asks.mounts = vec![Mount { name: name("media"), write }];
        })
        .map(|setup| setup.mounts.len())
    };
    assert_eq!(mount(false, &[("media", false)]), Ok(1));
    assert_eq!(mount(true, &[("media", true)]), Ok(1));
    assert_eq!(mount(true, &[("media", false)]), Err(Code::Policy));
    assert_eq!(mount(false, &[("music", true)]), Err(Code::Policy));
}

#[test]
fn reaching_further_keeping_more_and_saying_more_is_asking_for_more() {
    let asks = Asks {
        connect: vec![name("db.example:5432")],
        data_bytes: 1000,
        mounts: vec![Mount { name: name("media"), write: false }],
        topics_out: vec![name("temperature")],
        topics_in: vec![name("set-point")],
        ..Asks::default()
    };
    assert_eq!(widening(Some(&asks), &asks), None);
    assert_eq!(widening(Some(&asks), &Asks::default()), None);
    for (more, what) in [
        (Asks { connect: vec![name("*:443")], ..asks.clone() }, "connections to *:443"),
        (Asks { resolve: true, ..asks.clone() }, "resolving any name"),
        (Asks { data_bytes: 1001, ..asks.clone() }, "1001 bytes of data"),
        (
            Asks { mounts: vec![Mount { name: name("media"), write: true }], ..asks.clone() },
            "writing to the directory media",
        ),
        (Asks { mounts: vec![Mount { name: name("etc"), write: false }], ..asks.clone() }, "reading the directory etc"),
        (Asks { topics_out: vec![name("set-point")], ..asks.clone() }, "publishing under set-point"),
        (Asks { topics_in: vec![name("temperature")], ..asks.clone() }, "hearing temperature"),
    ] {
        assert_eq!(widening(Some(&asks), &more).as_deref(), Some(what));
    }
}

#[test]
fn a_secret_stands_for_a_value_on_the_device_that_can_open_it() {
    let with = |device: &str, asked: &str| {
        admitted(|_, _, assignment| {
            assignment.env.clear();
            let sealed = Sealed { device: name("pi-1"), encapsulated: [0; 32], ciphertext: vec![0; 20] };
            assignment.secrets = vec![(name(asked), vec![sealed])];
            *assignment = assignment.clone().seen_by(&name(device));
        })
    };
    let setup = with("pi-1", "SITE").unwrap();
    assert_eq!(setup.secrets.len(), 1);
    assert_eq!(setup.env, [(name("GREETING"), "Hello".into())], "the secret is not there in the clear");
    assert_eq!(with("pi-2", "SITE"), Err(Code::Policy), "another device has no value for it");
    assert_eq!(with("pi-1", "OTHER"), Err(Code::Policy), "nobody asked for it");
}
