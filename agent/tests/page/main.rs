//! The page as a person sees it: in a real Chromium, on a board that lives.
//!
//! Needs Chromium and its driver (Debian: `apt install chromium chromium-driver`). Without them these tests are
//! ignored, and say so; with `CI=true` they fail instead. `DUNLIN_PICTURES=agent/src/door/pictures` makes README's
//! pictures anew, of which `cwebp` makes small ones.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]
#![allow(unreachable_pub, dead_code, reason = "what the rooms of one program share, of which it takes what it needs")]

#[path = "../door/ask.rs"]
mod ask;
mod browser;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/needs.rs"]
mod needs;
#[path = "../door/scene.rs"]
mod scene;

use dunlin_core::wire::{Restart, Start, Topic, state::Phase};
use dunlin_guests::{Artifact, ENV, HELLO, KEEP_ALIVE, TRAP};
use libtest_mimic::Arguments;

use browser::Browser;
use scene::Scene;

/// What a guest may say: in the page it is text, and nothing else.
const EVIL: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

fn main() {
    let mut tests: Vec<(_, fn())> = vec![
        ("it_shows_what_happens_while_it_happens", it_shows_what_happens_while_it_happens),
        ("what_others_say_is_text", what_others_say_is_text),
        ("a_keyboard_and_a_screen_reader_find_their_way", a_keyboard_and_a_screen_reader_find_their_way),
        ("it_says_when_the_board_is_gone_and_comes_back_with_it", it_says_when_the_board_is_gone),
        ("it_fits_a_phone_and_can_be_read_in_light_and_dark", it_fits_a_phone_and_can_be_read),
    ];
    if std::env::var_os("DUNLIN_PICTURES").is_some() {
        tests.push(("pictures", pictures));
    }
    needs::run(&Arguments::from_args(), browser::missing(), &tests);
}

/// The thread on which the board and its broker live while the browser is driven from the test's own.
struct Backstage {
    handle: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Backstage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        // Whether it was said or the test is gone: it is over.
        let thread = std::thread::spawn(move || runtime.block_on(async { _ = stopped.await }));
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A board, and somebody who looks at its page.
struct Stage {
    runtime: Backstage,
    scene: Option<Scene>,
    browser: Browser,
}

impl Stage {
    fn new() -> Self {
        Self::sized(1200, 900, false)
    }

    fn sized(width: u32, height: u32, dark: bool) -> Self {
        let runtime = Backstage::new();
        let scene = Some(runtime.block_on(Scene::new()));
        let stage = Self { runtime, scene, browser: Browser::open(width, height, dark) };
        stage.browser.go(&format!("http://127.0.0.1:{}/", stage.scene().door));
        stage.browser.until("the board's name", "return document.querySelector('h1').textContent === 'pi-1'");
        stage
    }

    fn scene(&self) -> &Scene {
        self.scene.as_ref().unwrap()
    }

    /// Deploys an app and waits until the board says this of it.
    fn deploy(
        &mut self,
        app: &str,
        guest: &Artifact,
        phase: Phase,
        change: impl FnOnce(&mut dunlin_core::wire::Release),
    ) -> u16 {
        let scene = self.scene.as_mut().unwrap();
        self.runtime.block_on(async {
            let port = scene.deploy(app, guest, change).await;
            scene.phase(app, phase).await;
            port
        })
    }

    /// Whether a card says this of an app.
    fn card(&self, app: &str, what: &str, words: &str) {
        let script = format!(
            "const card = document.getElementById('app-{app}')?.closest('li');
             return !!card && card.querySelector('{what}').textContent.includes({})",
            serde_json::to_string(words).unwrap()
        );
        self.browser.until(&format!("{app} {what} {words}"), &script);
    }

    /// Nothing was blocked, and nothing failed.
    fn no_complaints(&self) {
        assert_eq!(self.browser.complaints(), Vec::<String>::new());
    }
}

fn it_shows_what_happens_while_it_happens() {
    let mut stage = Stage::new();
    stage.browser.until("an empty board", "return !document.getElementById('none').hidden");
    let port = stage.deploy("hello", &KEEP_ALIVE, Phase::Running, |_| {});
    stage.card("hello", ".state", "running");
    stage.card("hello", ".soft", "1.0.0");
    stage.card("hello", ".log", "keep-alive: listening");
    let link = format!("return document.querySelector('.line a').href === 'http://127.0.0.1:{port}/'");
    stage.browser.until("its address", &link);
    stage.browser.until("its memory", "return document.querySelector('.graph b').textContent.includes('KiB') && document.querySelector('.edge')?.getTotalLength() > 0");
    for _ in 0..7 {
        stage.runtime.block_on(common::get(port));
    }
    stage.card("hello", ".line", "7 answered");
    stage.browser.until("its requests", "return document.querySelector('.bars').getAttribute('d').includes('V')");

    stage.deploy("trap", &TRAP, Phase::BackingOff, |_| {});
    stage.card("trap", ".state", "backing off");
    stage.card("trap", ".why", "unreachable");
    stage.deploy("sleeper", &HELLO, Phase::Asleep, |release| release.start = Start::OnDemand { idle_ms: 200 });
    stage.card("sleeper", ".state", "asleep");

    let scene = stage.scene.as_mut().unwrap();
    stage.runtime.block_on(scene.operator.publish(&Topic::Plan, "rubbish"));
    let note = "const note = document.querySelector('#notes .note');
                return !!note && note.textContent.startsWith('Refused: malformed') && note.textContent.length > 30";
    stage.browser.until("the refusal with its sentence", note);
    stage
        .browser
        .until("what was last", "return document.querySelector('#events li').textContent.includes('[malformed]')");
    stage.browser.until("the plan", "return document.getElementById('facts').textContent.includes('number 3')");

    // What the plan takes away goes from the page too.
    let plan = scene.fleet.plan(4, &[]);
    let fleet = &scene.fleet;
    stage.runtime.block_on(scene.operator.plan(fleet, &plan));
    stage.browser.until(
        "an empty board again",
        "return document.querySelectorAll('.app').length === 0 && !document.getElementById('none').hidden",
    );
    stage.browser.until("no refusal", "return !document.querySelector('#notes .note')");
    stage.no_complaints();
}

fn what_others_say_is_text() {
    let mut stage = Stage::new();
    stage.deploy("env", &ENV, Phase::Finished, |release| {
        release.restart = Restart::Never;
        release.asks.env = vec![("EVIL".parse().unwrap(), Some(EVIL.into()))];
    });
    stage.card("env", ".log", &format!("EVIL={EVIL}"));
    // A broker may say what it likes as well: a refusal quotes it at most.
    let scene = stage.scene.as_mut().unwrap();
    stage.runtime.block_on(scene.operator.publish(&Topic::Plan, EVIL));
    stage.browser.until("the refusal", "return !!document.querySelector('#notes .note')");
    let inert =
        "return document.title === 'pi-1 · Dunlin' && document.scripts.length === 1 && document.images.length === 0";
    stage.browser.until("nothing of it runs", inert);
    // Were it markup all the same, the policy would not let it run.
    let injected = "const before = document.title;
        document.querySelector('.log').insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">');
        const script = document.createElement('script'); script.textContent = 'document.title = 2'; document.body.append(script);
        return document.title === before";
    stage.browser.until("the policy holds", injected);
    assert!(!stage.browser.complaints().is_empty(), "and it was the policy");
}

fn a_keyboard_and_a_screen_reader_find_their_way() {
    let mut stage = Stage::new();
    stage.deploy("hello", &HELLO, Phase::Running, |_| {});
    stage.card("hello", ".log", "listening");
    // In the order of reading: past everything, an app's address, whether its lines are shown, the lines.
    let focused = |what: &str| format!("return document.activeElement.matches('{what}')");
    for what in [".away", ".line a", "summary", ".log"] {
        stage.browser.press("\u{e004}");
        stage.browser.until(what, &focused(what));
        let outlined = "const style = getComputedStyle(document.activeElement); return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2";
        stage.browser.until("the focus is seen", outlined);
    }
    // Two turns later it is still where it was.
    let turns = "window.turns ??= performance.getEntriesByType('resource').length;
                 return performance.getEntriesByType('resource').length > window.turns + 10";
    stage.browser.until("two turns", turns);
    stage.browser.until("the focus stays", &focused(".log"));
    let names = "const named = (node) => node.getAttribute('aria-label') || document.getElementById(node.getAttribute('aria-labelledby'))?.textContent;
        return ['.app', '.graph svg', '.log', 'section'].every((what) => [...document.querySelectorAll(what)].every(named))
            && document.querySelectorAll('h1').length === 1 && document.documentElement.lang === 'en'
            && document.querySelectorAll('[aria-live=polite], [role=status]').length === 1
            && document.querySelector('.log').getAttribute('aria-live') === 'off'";
    stage.browser.until("names", names);
    // A change is told once, in words.
    stage.deploy("trap", &TRAP, Phase::BackingOff, |_| {});
    stage.browser.until("the news", "return document.getElementById('said').textContent.includes('trap')");
    stage.no_complaints();
}

fn it_says_when_the_board_is_gone() {
    let mut stage = Stage::new();
    stage.deploy("hello", &HELLO, Phase::Running, |_| {});
    stage.card("hello", ".state", "running");
    let scene = stage.scene.take().unwrap();
    let (fleet, broker, door) = (scene.fleet, scene.broker, scene.door);
    let state = stage.runtime.block_on(scene.board.stop());
    let gone = "const lost = document.getElementById('lost');
                return !lost.hidden && lost.textContent.includes('has not answered since') && document.body.classList.contains('gone')";
    stage.browser.until("it says so", gone);
    stage
        .browser
        .until("in words", "return document.getElementById('said').textContent === 'The board does not answer.'");
    stage
        .browser
        .until("ever more rarely", "return /every (8|16|30) s/.test(document.getElementById('lost').textContent)");
    let _board = stage.runtime.block_on(async {
        common::Board::start_with(Default::default(), state, &fleet, &broker, |config| {
            let places = vec![scene::tcp(door)];
            config.door = Some(dunlin::door::Settings { places, token: None, certificate: None });
        })
    });
    stage.browser.until(
        "it is back",
        "return document.getElementById('lost').hidden && !document.body.classList.contains('gone')",
    );
    stage.card("hello", ".state", "running");
}

/// WCAG 2.2: 1.4.3 (contrast), 1.4.10 (reflow).
fn it_fits_a_phone_and_can_be_read() {
    for dark in [false, true] {
        let mut stage = Stage::sized(360, 740, dark);
        stage.deploy("an-app-with-a-rather-long-name", &HELLO, Phase::Running, |_| {});
        stage.deploy("trap", &TRAP, Phase::BackingOff, |_| {});
        stage.card("trap", ".why", "unreachable");
        let scene = stage.scene.as_mut().unwrap();
        stage.runtime.block_on(scene.operator.publish(&Topic::Plan, "rubbish"));
        stage.browser.until("the refusal", "return !!document.querySelector('#notes .note')");
        stage.browser.until("no sideways scrolling", "return document.documentElement.scrollWidth <= 360");
        let unreadable = stage.browser.look(CONTRAST);
        assert_eq!(unreadable, serde_json::json!([]), "dark: {dark}");
        let background = stage.browser.look("return getComputedStyle(document.body).backgroundColor").to_string();
        assert_eq!(background.contains("rgb(18"), dark, "{background}");
    }
}

/// Every text that has less contrast to what is behind it than 4.5 : 1.
const CONTRAST: &str = "
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const behind = (node) => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const texts = [...document.querySelectorAll('body *')].filter((node) => !node.closest('script, .away, svg')
        && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) && node.getClientRects().length);
    return texts.flatMap((node) => {
        const [a, b] = [rgb(getComputedStyle(node).color), behind(node)].map(light).sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        return ratio < 4.5 ? [`${node.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`] : [];
    });";

/// A board that has been busy for as long as its graphs go back.
fn pictures() {
    let folder = std::path::PathBuf::from(std::env::var_os("DUNLIN_PICTURES").unwrap());
    let mut stage = Stage::new();
    let port = stage.deploy("greeter", &KEEP_ALIVE, Phase::Running, |_| {});
    stage.deploy("doorbell", &HELLO, Phase::Asleep, |release| release.start = Start::OnDemand { idle_ms: 200 });
    stage.deploy("thermometer", &TRAP, Phase::BackingOff, |_| {});
    stage.deploy("inventory", &ENV, Phase::Finished, |release| release.restart = Restart::Never);
    let scene = stage.scene.as_mut().unwrap();
    let (fleet, old) = (&scene.fleet, scene.fleet.plan(1, &[]));
    stage.runtime.block_on(scene.operator.plan(fleet, &old));
    for second in 0..300_u32 {
        let wave = (f64::from(second) * 0.045).sin() + (f64::from(second) * 0.31).sin() * 0.4;
        let visitors = (9.0 + 6.0 * wave) as u32 + second % 3;
        stage.runtime.block_on(async {
            for _ in 0..visitors {
                common::get(port).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(950)).await;
        });
    }
    for (name, width, dark) in [("light", 1200, false), ("dark", 1200, true), ("phone", 390, false)] {
        let browser = Browser::open(width, 844, dark);
        browser.go(&format!("http://127.0.0.1:{}/", stage.scene().door));
        browser.until("all of it", "return document.querySelectorAll('.log span:not(.none)').length > 3");
        std::fs::write(folder.join(format!("{name}.png")), browser.picture(width > 500)).unwrap();
    }
}
