//! Collects the links of an instant-distance index. Its public interface does not give them, but it serialises them:
//! this is the serialiser that keeps the links and nothing else.

use std::fmt::{self, Display};

use serde::ser::{self, Impossible};
use serde::{Serialize, Serializer};

/// What instant-distance serialises for an unused link.
const UNUSED: u32 = u32::MAX;

/// The links of a graph: an index serialises as a struct, whose fields `zero` (a layer) and `layers` (those above) hold
/// sequences of nodes, which are tuples of numbers.
#[derive(Default)]
pub(super) struct LinkCollector {
    /// For each layer from the bottom, the links of each node.
    layers: Vec<Vec<Vec<u32>>>,
}

impl LinkCollector {
    /// Returns, for each layer from the top, the links of each node of an index.
    pub(super) fn collect(index: &impl Serialize) -> Result<Vec<Vec<Vec<u32>>>, UnknownForm> {
        let mut collector = LinkCollector::default();
        index.serialize(&mut collector)?;
        collector.layers.retain(|layer| !layer.is_empty());
        collector.layers.reverse();
        Ok(collector.layers)
    }
}

/// instant-distance serialises its index in another form than expected.
#[derive(Debug)]
pub(super) struct UnknownForm(String);

impl Display for UnknownForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instant-distance has an index of unknown form: {}", self.0)
    }
}

impl std::error::Error for UnknownForm {}

impl ser::Error for UnknownForm {
    fn custom<T: Display>(message: T) -> Self {
        UnknownForm(message.to_string())
    }
}

impl ser::SerializeStruct for &mut LinkCollector {
    type Ok = ();
    type Error = UnknownForm;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), UnknownForm> {
        match name {
            "zero" | "layers" => value.serialize(&mut **self),
            _ => Ok(()),
        }
    }

    fn end(self) -> Result<(), UnknownForm> {
        Ok(())
    }
}

impl ser::SerializeSeq for &mut LinkCollector {
    type Ok = ();
    type Error = UnknownForm;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), UnknownForm> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), UnknownForm> {
        Ok(())
    }
}

impl ser::SerializeTuple for &mut LinkCollector {
    type Ok = ();
    type Error = UnknownForm;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), UnknownForm> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), UnknownForm> {
        Ok(())
    }
}

/// Methods that return an error, because an index has no such values.
macro_rules! unknown {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, UnknownForm> {
            Err(UnknownForm(stringify!($method).to_owned()))
        })*
    };
}

impl<'a> Serializer for &'a mut LinkCollector {
    type Ok = ();
    type Error = UnknownForm;
    type SerializeSeq = &'a mut LinkCollector;
    type SerializeTuple = &'a mut LinkCollector;
    type SerializeTupleStruct = Impossible<(), UnknownForm>;
    type SerializeTupleVariant = Impossible<(), UnknownForm>;
    type SerializeMap = Impossible<(), UnknownForm>;
    type SerializeStruct = &'a mut LinkCollector;
    type SerializeStructVariant = Impossible<(), UnknownForm>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, UnknownForm> {
        Ok(self)
    }

    /// A layer, or the sequence of layers, which the first of them takes the place of.
    fn serialize_seq(self, _: Option<usize>) -> Result<Self, UnknownForm> {
        if self.layers.last().is_none_or(|layer| !layer.is_empty()) {
            self.layers.push(Vec::new());
        }
        Ok(self)
    }

    /// A node.
    fn serialize_tuple(self, _: usize) -> Result<Self, UnknownForm> {
        let layer = self.layers.last_mut().ok_or_else(|| UnknownForm("a node outside of a layer".to_owned()))?;
        layer.push(Vec::new());
        Ok(self)
    }

    /// A link.
    fn serialize_u32(self, link: u32) -> Result<(), UnknownForm> {
        let node = self.layers.last_mut().and_then(|layer| layer.last_mut());
        let node = node.ok_or_else(|| UnknownForm("a link outside of a node".to_owned()))?;
        if link != UNUSED {
            node.push(link);
        }
        Ok(())
    }

    /// Nodes and their numbers have types of their own.
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), UnknownForm> {
        value.serialize(self)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Result<(), UnknownForm> {
        Err(UnknownForm("serialize_some".to_owned()))
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), UnknownForm> {
        Err(UnknownForm("serialize_newtype_variant".to_owned()))
    }

    unknown! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct PointId(u32);

    #[derive(Serialize)]
    struct Node([PointId; 2]);

    /// The form of an index.
    #[derive(Serialize)]
    struct Hnsw {
        ef_search: usize,
        points: Vec<&'static str>,
        zero: Vec<Node>,
        layers: Vec<Vec<Node>>,
    }

    fn node(links: [u32; 2]) -> Node {
        Node(links.map(PointId))
    }

    #[test]
    fn layers_come_from_the_top_without_unused_links() {
        let zero = vec![node([1, 2]), node([2, UNUSED]), node([0, UNUSED])];
        let layers = vec![vec![node([1, UNUSED]), node([0, UNUSED])], vec![node([UNUSED, UNUSED])]];
        let mut index = Hnsw { ef_search: 1, points: vec!["a", "b", "c"], zero, layers };
        let collected = LinkCollector::collect(&index).expect("an index");
        assert_eq!(collected, [vec![vec![]], vec![vec![1], vec![0]], vec![vec![1, 2], vec![2], vec![0]]]);
        index.layers.clear();
        assert_eq!(LinkCollector::collect(&index).expect("an index").len(), 1);
    }

    #[test]
    fn other_forms_are_rejected() {
        assert!(LinkCollector::collect(&"text").is_err());
        assert!(LinkCollector::collect(&7u32).is_err());
        assert!(LinkCollector::collect(&(1u32, 2u32)).is_err());
        assert!(LinkCollector::collect(&vec![1u32]).is_err());
        assert!(LinkCollector::collect(&Some(1u32)).is_err());
    }
}
