"""Colours, and a thin layer over Blender's shader nodes."""

import bpy

# The colour names that shoppers filter by, with the sRGB value of a plain listing of that colour.
COLOURS = {
    "white": "f1f0ec", "cream": "ead9b8", "black": "1b1b1d", "grey": "85888c",
    "red": "b3202a", "orange": "d4662b", "yellow": "e3ae2b", "green": "5c8a5a",
    "teal": "1f7f83", "blue": "4f86c0", "navy": "1f2f5c", "pink": "e2a0a5",
    "purple": "71508f", "brown": "6f4527", "natural": "c79f68", "gold": "e0b04f",
    "silver": "d0d3d6", "copper": "d2835c", "clear": "f6fbfa", "terracotta": "b8613d",
}

# Blender 4 renamed these inputs of the Principled shader; the script runs on 3.4 and 4.2.
_RENAMED = {
    "Specular": "Specular IOR Level", "Transmission": "Transmission Weight",
    "Subsurface": "Subsurface Weight", "Sheen": "Sheen Weight",
    "Clearcoat": "Coat Weight", "Emission": "Emission Color",
}


def rgb(colour):
    """Linear RGBA of a colour name or of a hex value such as "5c8a5a"."""
    value = COLOURS.get(colour, colour)
    out = []
    for i in (0, 2, 4):
        c = int(value[i:i + 2], 16) / 255.0
        out.append(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
    return (*out, 1.0)


class Graph:
    """A node tree with short methods to add and link nodes."""

    def __init__(self, name):
        self.mat = bpy.data.materials.new(name)
        self.mat.use_nodes = True
        self.tree = self.mat.node_tree
        self.tree.nodes.clear()
        self.out = self.node("ShaderNodeOutputMaterial")

    def node(self, kind, **inputs):
        """Add a node; keywords set or link its inputs ("_" stands for a space)."""
        n = self.tree.nodes.new(kind)
        for key, value in inputs.items():
            self.set(n, key.replace("_", " "), value)
        return n

    def set(self, n, key, value):
        """Set an input to a value, or link a socket to it."""
        if key not in n.inputs:
            key = _RENAMED.get(key, key)
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, n.inputs[key])
        else:
            n.inputs[key].default_value = value

    def math(self, op, a, b=0.0):
        """One arithmetic node; a and b are numbers or sockets."""
        n = self.tree.nodes.new("ShaderNodeMath")
        n.operation = op
        for i, value in enumerate((a, b)):
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, n.inputs[i])
            else:
                n.inputs[i].default_value = value
        return n.outputs[0]

    def mix(self, fac, a, b, blend="MIX"):
        """Mix two colours (RGBA values or sockets)."""
        n = self.node("ShaderNodeMixRGB", Fac=fac, Color1=a, Color2=b)
        n.blend_type = blend
        return n.outputs[0]

    def coords(self):
        """(u, v) sockets, and the object-space vector."""
        tc = self.node("ShaderNodeTexCoord")
        sep = self.node("ShaderNodeSeparateXYZ", Vector=tc.outputs["UV"])
        return sep.outputs[0], sep.outputs[1], tc.outputs["Object"]

    def noise(self, vector, scale, detail=3.0, rough=0.5, distortion=0.0):
        n = self.node("ShaderNodeTexNoise", Vector=vector, Scale=scale, Detail=detail,
                      Roughness=rough, Distortion=distortion)
        return n.outputs["Fac"]

    def bump(self, height, strength, distance=0.02):
        return self.node("ShaderNodeBump", Height=height, Strength=strength,
                         Distance=distance).outputs[0]


def cell(g, x, n):
    """The position, 0..1, within one of n repeats along x."""
    return g.math("FRACT", g.math("MULTIPLY", x, n))
