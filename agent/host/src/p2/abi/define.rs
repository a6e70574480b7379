//! What interfaces define for themselves: enums, flags and records, with the names that WIT gives them.

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

/// A variant, with its cases as WIT names them, and the payloads of those that have one.
macro_rules! wit_variant {
    ($(#[$meta:meta])* $vis:vis enum $ty:ident {
        $($(#[$case_meta:meta])* $case:ident $(($payload:ident: $of:ty))? = $name:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis enum $ty { $($(#[$case_meta])* $case $(($of))?,)+ }

        impl $ty {
            /// Its name, as the document has it.
            $vis fn name(&self) -> &'static str {
                match self { $(wit_variant!(@any $ty $case $($payload)?) => $name,)+ }
            }
        }

        impl $crate::p2::abi::Wit for $ty {
            const TY: $crate::p2::abi::Ty =
                $crate::p2::abi::Ty::Variant(&[$(($name, wit_variant!(@ty $($of)?))),+]);
        }

        impl $crate::p2::abi::Lift for $ty {
            fn lift(from: &mut $crate::p2::abi::Source<'_>) -> Result<Self, $crate::p2::call::Trap> {
                from.variant(<Self as $crate::p2::abi::Wit>::LAYOUT, |case, from| {
                    let _ = &from;
                    let mut cases = 0..;
                    $(if cases.next() == Some(case) {
                        return Ok($ty::$case $((<$of as $crate::p2::abi::Lift>::lift(from)?))?);
                    })+
                    Err($crate::p2::abi::NO_SUCH_CASE)
                })
            }
        }

        impl $crate::p2::abi::Lower for $ty {
            fn lower(self, to: &mut $crate::p2::abi::Sink<'_>) -> Result<(), $crate::p2::call::Stop> {
                let names = [$($name),+];
                let case = names.iter().position(|name| *name == self.name()).unwrap_or_default() as u32;
                to.variant(<Self as $crate::p2::abi::Wit>::LAYOUT, case, |to| {
                    let _ = &to;
                    match self { $($ty::$case $(($payload))? => wit_variant!(@lower to $($payload)?),)+ }
                })
            }
        }
    };
    (@any $ty:ident $case:ident) => { $ty::$case };
    (@any $ty:ident $case:ident $payload:ident) => { $ty::$case(_) };
    (@ty) => { &$crate::p2::abi::Ty::Unit };
    (@ty $of:ty) => { &<$of as $crate::p2::abi::Wit>::TY };
    (@lower $to:ident) => { Ok(()) };
    (@lower $to:ident $payload:ident) => { $crate::p2::abi::Lower::lower($payload, $to) };
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

pub(in crate::p2) use {wit_enum, wit_flags, wit_record, wit_variant};
