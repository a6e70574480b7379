//! The two functions of the module `dunlin`. They return an errno of WASI, 0 for success.

#[cfg(target_os = "wasi")]
pub(crate) use host::{publish, receive};
#[cfg(not(target_os = "wasi"))]
pub(crate) use nobody::{publish, receive};

/// What the host is told, and where it writes.
#[cfg(target_os = "wasi")]
#[expect(unsafe_code, reason = "functions of the host")]
mod host {
    mod raw {
        #[link(wasm_import_module = "dunlin")]
        unsafe extern "C" {
            pub(super) fn publish(topic: *const u8, topic_len: usize, payload: *const u8, payload_len: usize) -> i32;
            pub(super) fn receive(
                topic: *mut u8,
                topic_room: usize,
                topic_len: *mut u32,
                payload: *mut u8,
                payload_room: usize,
                payload_len: *mut u32,
                wait_ms: u32,
            ) -> i32;
        }
    }

    pub(crate) fn publish(topic: &[u8], payload: &[u8]) -> i32 {
        // SAFETY: the host reads the two buffers, which are as long as it is told, and keeps neither.
        unsafe { raw::publish(topic.as_ptr(), topic.len(), payload.as_ptr(), payload.len()) }
    }

    /// Two buffers, and what of each was filled.
    pub(crate) fn receive(topic: (&mut [u8], &mut u32), payload: (&mut [u8], &mut u32), wait_ms: u32) -> i32 {
        let ((topic, topic_len), (payload, payload_len)) = (topic, payload);
        // SAFETY: the host writes within the two buffers, which are as long as it is told, and two numbers.
        unsafe {
            raw::receive(
                topic.as_mut_ptr(),
                topic.len(),
                topic_len,
                payload.as_mut_ptr(),
                payload.len(),
                payload_len,
                wait_ms,
            )
        }
    }
}

/// Built for anything but a guest, there is no host to ask: nothing is granted.
#[cfg(not(target_os = "wasi"))]
mod nobody {
    /// `EACCES`.
    const NOT_GRANTED: i32 = 13;

    pub(crate) fn publish(_: &[u8], _: &[u8]) -> i32 {
        NOT_GRANTED
    }

    pub(crate) fn receive(_: (&mut [u8], &mut u32), _: (&mut [u8], &mut u32), _: u32) -> i32 {
        NOT_GRANTED
    }
}
