//! Says a line, then panics.

#[expect(clippy::panic, reason = "that is what it is for")]
fn main() {
    println!("panic: about to");
    panic!("a guest's last words");
}
