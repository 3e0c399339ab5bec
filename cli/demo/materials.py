"""Procedural materials: a kind ("ceramic", "wood" ...), a colour and an optional pattern.

Patterns are computed from the UV map that shapes.py writes (u runs around or across a part,
v upwards), so that stripes follow a round body. Grain, speckle and weave use object
coordinates, so that they do not stretch with the outline.
"""

from nodes import Graph, cell, rgb
from surfaces import SURFACES


def pattern_mask(g, name, n, duty):
    """The mask of the second colour, 0..1."""
    u, v, obj = g.coords()
    if name == "stripes":
        return g.math("LESS_THAN", cell(g, u, n), duty)
    if name == "bands":
        return g.math("LESS_THAN", cell(g, v, n), duty)
    if name == "dip":  # the lower part in the second colour, with a hand-dipped edge
        wobble = g.math("MULTIPLY", g.math("SUBTRACT", g.noise(obj, 3.0), 0.5), 0.08)
        return g.math("LESS_THAN", g.math("ADD", v, wobble), duty)
    if name == "rim":
        return g.math("GREATER_THAN", v, 1.0 - duty)
    if name == "centre":
        return g.math("LESS_THAN", v, duty)
    if name == "ringband":  # one band at position n, of width duty
        return g.math("LESS_THAN", g.math("ABSOLUTE", g.math("SUBTRACT", v, n)), duty / 2)
    if name == "dots":
        rows = g.math("FLOOR", g.math("MULTIPLY", v, n))
        shift = g.math("MULTIPLY", g.math("MODULO", rows, 2.0), 0.5)
        x = g.math("SUBTRACT", g.math("FRACT", g.math(
            "ADD", g.math("MULTIPLY", u, n * 2), shift)), 0.5)
        y = g.math("SUBTRACT", cell(g, v, n), 0.5)
        d = g.math("ADD", g.math("MULTIPLY", x, x), g.math("MULTIPLY", y, y))
        return g.math("LESS_THAN", d, duty * duty)
    if name == "check":
        a = g.math("LESS_THAN", cell(g, u, n), duty)
        b = g.math("LESS_THAN", cell(g, v, n), duty)
        return g.math("MULTIPLY", g.math("ADD", a, b), 0.5)
    if name == "chevron":
        zig = g.math("ABSOLUTE", g.math("SUBTRACT", cell(g, u, n), 0.5))
        return g.math("LESS_THAN", g.math("FRACT", g.math(
            "ADD", g.math("MULTIPLY", v, n), zig)), duty)
    if name == "diamond":
        a = g.math("ABSOLUTE", g.math("SUBTRACT", cell(g, u, n), 0.5))
        b = g.math("ABSOLUTE", g.math("SUBTRACT", cell(g, v, n), 0.5))
        return g.math("LESS_THAN", g.math("ADD", a, b), duty)
    if name == "speckle":
        return g.math("GREATER_THAN", g.noise(obj, n, 1.0), 1.0 - duty)
    if name == "marble":
        wave = g.math("ABSOLUTE", g.math("SUBTRACT", g.noise(obj, n, 5.0, 0.6, 1.2), 0.5))
        return g.math("POWER", g.math("SUBTRACT", 1.0, g.math("MINIMUM", g.math(
            "MULTIPLY", wave, 9.0), 1.0)), 2.0)
    if name == "patch":  # large organic blots: glaze runs, cow hide, tortoiseshell
        return g.math("GREATER_THAN", g.noise(obj, n, 1.5), duty)
    raise ValueError(name)


def make(kind, colour, colour2=None, pattern=None, n=6.0, duty=0.5, rough=None, **kw):
    """Build a material. See surfaces.SURFACES for the kinds and pattern_mask for the patterns."""
    g = Graph(f"{kind}-{colour}")
    base = rgb(colour)
    if pattern:
        base = g.mix(pattern_mask(g, pattern, n, duty), base, rgb(colour2 or "white"))
    if kind == "glass":
        return _glass(g, base, rough or 0.02, kw.get("tint", 1.0))
    if kind == "shade":
        return _shade(g, base, kw.get("glow", 1.0))
    if kind == "emit":
        e = g.node("ShaderNodeEmission", Color=base, Strength=kw.get("glow", 3.0))
        g.tree.links.new(e.outputs[0], g.out.inputs[0])
        return g.mat
    p = g.node("ShaderNodeBsdfPrincipled")
    g.set(p, "Base Color", base)
    SURFACES[kind](g, p, base, kw)
    if rough is not None:
        g.set(p, "Roughness", rough)
    g.tree.links.new(p.outputs[0], g.out.inputs[0])
    return g.mat


def _glass(g, base, rough, tint):
    """Glass with a transparent shadow, because tracing caustics is too slow."""
    p = g.node("ShaderNodeBsdfPrincipled", Roughness=rough, IOR=1.45)
    g.set(p, "Base Color", base)
    g.set(p, "Transmission", tint)
    clear = g.node("ShaderNodeBsdfTransparent", Color=base)
    path = g.node("ShaderNodeLightPath")
    m = g.node("ShaderNodeMixShader", Fac=path.outputs["Is Shadow Ray"])
    g.tree.links.new(p.outputs[0], m.inputs[1])
    g.tree.links.new(clear.outputs[0], m.inputs[2])
    g.tree.links.new(m.outputs[0], g.out.inputs[0])
    return g.mat


def _shade(g, base, glow):
    """A lampshade: cloth lit from inside, so it is slightly emissive."""
    _, _, obj = g.coords()
    bump = g.bump(g.noise(obj, 90.0), 0.15)
    p = g.node("ShaderNodeBsdfPrincipled", Roughness=0.9, Normal=bump)
    g.set(p, "Base Color", base)
    e = g.node("ShaderNodeEmission", Strength=glow * 0.45)
    g.set(e, "Color", g.mix(0.5, base, (1.0, 0.85, 0.62, 1.0), "MULTIPLY"))
    add = g.node("ShaderNodeAddShader")
    g.tree.links.new(p.outputs[0], add.inputs[0])
    g.tree.links.new(e.outputs[0], add.inputs[1])
    g.tree.links.new(add.outputs[0], g.out.inputs[0])
    return g.mat
