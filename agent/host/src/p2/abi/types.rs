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
