//! The canonical ABI: how values of the component model lie in flat arguments and in guest memory.
//!
//! A Rust type that crosses says its WIT type once ([`Wit::TY`]). Sizes, alignments and the number of flat
//! cells follow from that, and it is what a component's own declaration is compared with.

mod check;
mod define;
mod lift;
mod lower;
mod types;

pub(super) use self::check::{Declared, Resource, matches};
pub(super) use self::define::{wit_enum, wit_flags, wit_record, wit_variant};
pub(super) use self::lift::{Lift, Source};
pub(super) use self::lower::{Lower, Sink};
pub(super) use self::types::{Buffer, Bytes, NO_SUCH_CASE};

/// Flat arguments beyond which they are passed in memory.
pub(super) const FLAT_PARAMS_MAX: u32 = 16;

/// A type that values cross with.
pub(super) trait Wit: Sized {
    const TY: Ty;
    const LAYOUT: Layout = Self::TY.layout();
}

/// A type, as WIT has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ty {
    /// Nothing: the payload of a case that has none.
    Unit,
    Bool,
    U8,
    U16,
    U32,
    S32,
    U64,
    String,
    List(&'static Ty),
    Tuple(&'static [&'static Ty]),
    Record(&'static [Field]),
    Variant(&'static [Field]),
    Enum(&'static [&'static str]),
    Flags(&'static [&'static str]),
    Option(&'static Ty),
    Result(&'static Ty, &'static Ty),
    Own(&'static Resource),
    Borrow(&'static Resource),
}

/// A field of a record, or a case of a variant.
pub(super) type Field = (&'static str, &'static Ty);

/// How much room a type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// In memory.
    pub(super) bytes: u32,
    /// In memory.
    pub(super) align: u32,
    /// As arguments.
    pub(super) cells: u32,
}

impl Ty {
    pub(super) const fn layout(&self) -> Layout {
        match self {
            Self::Unit => Layout { bytes: 0, align: 1, cells: 0 },
            Self::Bool | Self::U8 => Layout::scalar(1),
            Self::U16 => Layout::scalar(2),
            Self::U32 | Self::S32 | Self::Own(_) | Self::Borrow(_) => Layout::scalar(4),
            Self::U64 => Layout::scalar(8),
            Self::String | Self::List(_) => Layout { bytes: 8, align: 4, cells: 2 },
            Self::Tuple(types) => {
                let mut layout = Self::Unit.layout();
                let mut index = 0;
                while index < types.len() {
                    layout = layout.then(types[index].layout());
                    index += 1;
                }
                layout.padded()
            }
            Self::Record(fields) => {
                let mut layout = Self::Unit.layout();
                let mut index = 0;
                while index < fields.len() {
                    layout = layout.then(fields[index].1.layout());
                    index += 1;
                }
                layout.padded()
            }
            Self::Variant(cases) => {
                let mut payload = Self::Unit.layout();
                let mut index = 0;
                while index < cases.len() {
                    payload = payload.or(cases[index].1.layout());
                    index += 1;
                }
                payload.tagged()
            }
            // None has more cases or flags than one byte can tell.
            Self::Enum(_) | Self::Flags(_) => Layout::scalar(1),
            Self::Option(some) => some.layout().tagged(),
            Self::Result(ok, error) => ok.layout().or(error.layout()).tagged(),
        }
    }
}

impl Layout {
    const fn scalar(bytes: u32) -> Self {
        Self { bytes, align: bytes, cells: 1 }
    }

    /// Of this with that behind it.
    const fn then(self, next: Self) -> Self {
        Self {
            bytes: align_to(self.bytes, next.align) + next.bytes,
            align: max(self.align, next.align),
            cells: self.cells + next.cells,
        }
    }

    /// Of either.
    const fn or(self, other: Self) -> Self {
        Self {
            bytes: max(self.bytes, other.bytes),
            align: max(self.align, other.align),
            cells: max(self.cells, other.cells),
        }
    }

    /// Of a discriminant, which is one byte, with this behind it.
    const fn tagged(self) -> Self {
        Self::scalar(1).then(self).padded()
    }

    const fn padded(self) -> Self {
        Self { bytes: align_to(self.bytes, self.align), ..self }
    }

    /// Where the payload lies in a variant of this layout, whose discriminant is one byte.
    const fn payload(self) -> u32 {
        self.align
    }
}

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// Rounds up to a power of two.
const fn align_to(at: u32, align: u32) -> u32 {
    at.saturating_add(align - 1) & !(align - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        const SOCKET_ADDRESS: Ty = Ty::Variant(&[
            ("ipv4", &Ty::Record(&[("port", &Ty::U16), ("address", &Ty::Tuple(&[&Ty::U8; 4]))])),
            (
                "ipv6",
                &Ty::Record(&[
                    ("port", &Ty::U16),
                    ("flow-info", &Ty::U32),
                    ("address", &Ty::Tuple(&[&Ty::U16; 8])),
                    ("scope-id", &Ty::U32),
                ]),
            ),
        ]);
        for (ty, bytes, align, cells) in [
            (Ty::Unit, 0, 1, 0),
            (Ty::Bool, 1, 1, 1),
            (Ty::String, 8, 4, 2),
            (Ty::Tuple(&[&Ty::U8, &Ty::U64, &Ty::U8]), 24, 8, 3),
            (Ty::Result(&Ty::Unit, &Ty::Enum(&["a"])), 2, 1, 2),
            (Ty::Option(&Ty::U64), 16, 8, 2),
            (SOCKET_ADDRESS, 32, 4, 12),
            (Ty::Option(&SOCKET_ADDRESS), 36, 4, 13),
            (Ty::Record(&[("data", &Ty::List(&Ty::U8)), ("remote", &Ty::Option(&SOCKET_ADDRESS))]), 44, 4, 15),
        ] {
            assert_eq!(ty.layout(), Layout { bytes, align, cells }, "{ty:?}");
        }
    }
}
