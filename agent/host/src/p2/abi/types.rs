//! The types that cross: integers, texts, lists, options and results, and what the interfaces define.

use super::{Lift, Lower, Sink, Source, Ty, Wit};
use crate::p2::call::{Stop, Trap};

macro_rules! integers {
    ($($ty:ident $wit:ident $bytes:literal;)*) => {$(
        impl Wit for $ty {
            const TY: Ty = Ty::$wit;
        }

        impl Lift for $ty {
            fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
                Ok(from.int($bytes)? as $ty)
            }
        }

        impl Lower for $ty {
            fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
                to.int(self as u64, $bytes)
            }
        }
    )*};
}

integers! {
    u8 U8 1;
    u16 U16 2;
    u32 U32 4;
    i32 S32 4;
    u64 U64 8;
}

impl Wit for bool {
    const TY: Ty = Ty::Bool;
}

impl Lift for bool {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        Ok(u8::lift(from)? != 0)
    }
}

impl Lower for bool {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        to.int(self.into(), 1)
    }
}

impl Wit for () {
    const TY: Ty = Ty::Unit;
}

impl Lift for () {
    fn lift(_: &mut Source<'_>) -> Result<Self, Trap> {
        Ok(())
    }
}

impl Lower for () {
    fn lower(self, _: &mut Sink<'_>) -> Result<(), Stop> {
        Ok(())
    }
}

impl Wit for String {
    const TY: Ty = Ty::String;
}

impl Lift for String {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.text()
    }
}

impl Lower for String {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        to.bytes(self.as_bytes())
    }
}

/// A `list<u8>` that stays in guest memory, where it is known to lie.
#[derive(Clone, Copy, Debug)]
pub(in crate::p2) struct Bytes {
    pub(in crate::p2) at: u32,
    pub(in crate::p2) len: u32,
}

impl Wit for Bytes {
    const TY: Ty = Ty::List(&Ty::U8);
}

impl Lift for Bytes {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        let (at, len) = from.list(u8::LAYOUT)?;
        Ok(Self { at, len })
    }
}

impl<T: Wit> Wit for Vec<T> {
    const TY: Ty = Ty::List(&T::TY);
}

impl<T: Lift> Lift for Vec<T> {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.elements()
    }
}

impl<T: Lower> Lower for Vec<T> {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        to.elements(self)
    }
}

/// A `list<u8>` of the host's.
#[derive(Clone, Debug)]
pub(in crate::p2) struct Buffer(pub(in crate::p2) Vec<u8>);

impl Wit for Buffer {
    const TY: Ty = Ty::List(&Ty::U8);
}

impl Lower for Buffer {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        to.bytes(&self.0)
    }
}

impl<T: Wit> Wit for Option<T> {
    const TY: Ty = Ty::Option(&T::TY);
}

impl<T: Lift> Lift for Option<T> {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.variant(Self::LAYOUT, |case, from| match case {
            0 => Ok(None),
            1 => T::lift(from).map(Some),
            _ => Err(NO_SUCH_CASE),
        })
    }
}

impl<T: Lower> Lower for Option<T> {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            None => to.variant(Self::LAYOUT, 0, |_| Ok(())),
            Some(value) => to.variant(Self::LAYOUT, 1, |to| value.lower(to)),
        }
    }
}

impl<T: Wit, E: Wit> Wit for Result<T, E> {
    const TY: Ty = Ty::Result(&T::TY, &E::TY);
}

impl<T: Lift, E: Lift> Lift for Result<T, E> {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.variant(Self::LAYOUT, |case, from| match case {
            0 => T::lift(from).map(Ok),
            1 => E::lift(from).map(Err),
            _ => Err(NO_SUCH_CASE),
        })
    }
}

impl<T: Lower, E: Lower> Lower for Result<T, E> {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            Ok(value) => to.variant(Self::LAYOUT, 0, |to| value.lower(to)),
            Err(error) => to.variant(Self::LAYOUT, 1, |to| error.lower(to)),
        }
    }
}

/// A tuple of so many of the same.
impl<T: Wit, const N: usize> Wit for [T; N] {
    const TY: Ty = Ty::Tuple(&[&T::TY; N]);
}

impl<T: Lift + Copy + Default, const N: usize> Lift for [T; N] {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.aggregate(Self::LAYOUT, |from| {
            let mut all = [T::default(); N];
            all.iter_mut().try_for_each(|one| T::lift(from).map(|value| *one = value))?;
            Ok(all)
        })
    }
}

impl<T: Lower, const N: usize> Lower for [T; N] {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        to.aggregate(Self::LAYOUT, |to| self.into_iter().try_for_each(|one| one.lower(to)))
    }
}

macro_rules! tuples {
    ($(($($name:ident),+);)*) => {$(
        impl<$($name: Wit),+> Wit for ($($name,)+) {
            const TY: Ty = Ty::Tuple(&[$(&$name::TY),+]);
        }

        impl<$($name: Lift),+> Lift for ($($name,)+) {
            fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
                from.aggregate(Self::LAYOUT, |from| Ok(($($name::lift(from)?,)+)))
            }
        }

        impl<$($name: Lower),+> Lower for ($($name,)+) {
            #[expect(non_snake_case, reason = "a value is named as its type")]
            fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
                let ($($name,)+) = self;
                to.aggregate(Self::LAYOUT, |to| {
                    $($name.lower(to)?;)+
                    Ok(())
                })
            }
        }
    )*};
}

tuples! {
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
}

pub(in crate::p2) const NO_SUCH_CASE: Trap = Trap("an argument is none of its type's cases");

/// An enum, with its cases as WIT names them.
macro_rules! wit_enum {
    ($(#[$meta:meta])* $vis:vis enum $ty:ident { $($case:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $ty { $($case,)+ }

        impl $crate::p2::abi::Wit for $ty {
            const TY: $crate::p2::abi::Ty = $crate::p2::abi::Ty::Enum(&[$($name),+]);
        }

        impl $crate::p2::abi::Lift for $ty {
            fn lift(from: &mut $crate::p2::abi::Source<'_>) -> Result<Self, $crate::p2::call::Trap> {
                const CASES: &[$ty] = &[$($ty::$case),+];
                from.variant(<Self as $crate::p2::abi::Wit>::LAYOUT, |case, _| {
                    let case = usize::try_from(case).ok().and_then(|case| CASES.get(case));
                    case.copied().ok_or($crate::p2::abi::NO_SUCH_CASE)
                })
            }
        }

        impl $crate::p2::abi::Lower for $ty {
            fn lower(self, to: &mut $crate::p2::abi::Sink<'_>) -> Result<(), $crate::p2::call::Stop> {
                to.variant(<Self as $crate::p2::abi::Wit>::LAYOUT, self as u32, |_| Ok(()))
            }
        }
    };
}

/// A set of flags, the first in the lowest bit.
macro_rules! wit_flags {
    ($(#[$meta:meta])* $vis:vis struct $ty:ident { $($flag:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $ty(u8);

        impl $ty {
            wit_flags!(@flags 0; $($flag)+);

            pub(in crate::p2) const fn has(self, flag: Self) -> bool {
                self.0 & flag.0 != 0
            }
        }

        impl std::ops::BitOr for $ty {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl $crate::p2::abi::Wit for $ty {
            const TY: $crate::p2::abi::Ty = $crate::p2::abi::Ty::Flags(&[$($name),+]);
        }

        impl $crate::p2::abi::Lift for $ty {
            fn lift(from: &mut $crate::p2::abi::Source<'_>) -> Result<Self, $crate::p2::call::Trap> {
                const ALL: u8 = 0 $(| $ty::$flag.0)+;
                // What has no name is ignored.
                Ok(Self(u8::lift(from)? & ALL))
            }
        }

        impl $crate::p2::abi::Lower for $ty {
            fn lower(self, to: &mut $crate::p2::abi::Sink<'_>) -> Result<(), $crate::p2::call::Stop> {
                self.0.lower(to)
            }
        }
    };
    (@flags $bit:expr;) => {};
    (@flags $bit:expr; $flag:ident $($rest:ident)*) => {
        pub(in crate::p2) const $flag: Self = Self(1 << ($bit));
        wit_flags!(@flags $bit + 1; $($rest)*);
    };
}

/// A record, with its fields as WIT names them.
macro_rules! wit_record {
    ($(#[$meta:meta])* $vis:vis struct $ty:ident { $($field:ident: $of:ty = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $vis struct $ty { $(pub(in crate::p2) $field: $of,)+ }

        impl $crate::p2::abi::Wit for $ty {
            const TY: $crate::p2::abi::Ty =
                $crate::p2::abi::Ty::Record(&[$(($name, &<$of as $crate::p2::abi::Wit>::TY)),+]);
        }
    };
    (lift $ty:ident { $($field:ident),+ }) => {
        impl $crate::p2::abi::Lift for $ty {
            fn lift(from: &mut $crate::p2::abi::Source<'_>) -> Result<Self, $crate::p2::call::Trap> {
                let layout = <Self as $crate::p2::abi::Wit>::LAYOUT;
                from.aggregate(layout, |from| Ok(Self { $($field: $crate::p2::abi::Lift::lift(from)?),+ }))
            }
        }
    };
    (lower $ty:ident { $($field:ident),+ }) => {
        impl $crate::p2::abi::Lower for $ty {
            fn lower(self, to: &mut $crate::p2::abi::Sink<'_>) -> Result<(), $crate::p2::call::Stop> {
                to.aggregate(<Self as $crate::p2::abi::Wit>::LAYOUT, |to| {
                    $($crate::p2::abi::Lower::lower(self.$field, to)?;)+
                    Ok(())
                })
            }
        }
    };
}

pub(in crate::p2) use {wit_enum, wit_flags, wit_record};
