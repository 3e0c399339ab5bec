"""The surface of each kind of material: grain, weave, glaze, relief.

A surface function gets the graph, its Principled shader, the base colour (with any pattern
applied) and the options of the look.
"""

from nodes import cell, rgb


def _ceramic(g, p, base, kw):
    _, _, obj = g.coords()
    g.set(p, "Roughness", 0.16)
    g.set(p, "Normal", g.bump(g.noise(obj, 2.5, 1.0), 0.10, 0.1))


def _stoneware(g, p, base, kw):
    """Matt glaze with iron speckle."""
    _, _, obj = g.coords()
    spots = g.math("GREATER_THAN", g.noise(obj, 38.0, 1.0), 0.69)
    g.set(p, "Base Color", g.mix(g.math("MULTIPLY", spots, 0.75), base, rgb("4a3527")))
    g.set(p, "Roughness", 0.42)
    g.set(p, "Normal", g.bump(g.noise(obj, 8.0), 0.12, 0.05))


def _clay(g, p, base, kw):
    _, _, obj = g.coords()
    tone = g.noise(obj, 3.0, 4.0)
    g.set(p, "Base Color", g.mix(g.math("MULTIPLY", tone, 0.35), base, rgb("e8cbb0")))
    g.set(p, "Roughness", 0.9)
    g.set(p, "Normal", g.bump(g.noise(obj, 30.0), 0.25, 0.02))


def _wood(g, p, base, kw):
    """Grain along kw["axis"]: noise squeezed to long fibres, plus soft rings."""
    _, _, obj = g.coords()
    squeeze = {"x": (0.5, 7, 7), "y": (7, 0.5, 7), "z": (7, 7, 0.5)}[kw.get("axis", "x")]
    m = g.node("ShaderNodeMapping", Vector=obj, Scale=squeeze)
    fibre = g.noise(m.outputs[0], 2.2, 6.0, 0.65, 0.6)
    ring = g.math("ABSOLUTE", g.math("SUBTRACT", cell(g, g.noise(
        m.outputs[0], 0.55, 2.0, 0.4), 7.0), 0.5))
    dark = g.mix(1.0, base, (0.42, 0.33, 0.27, 1), "MULTIPLY")
    fac = g.math("MULTIPLY", g.math("ADD", g.math("MULTIPLY", fibre, 0.8), ring), 0.62)
    g.set(p, "Base Color", g.mix(fac, base, dark))
    g.set(p, "Roughness", 0.45)
    g.set(p, "Normal", g.bump(fibre, 0.12, 0.02))


def _metal(g, p, base, kw):
    g.set(p, "Metallic", 1.0)
    g.set(p, "Roughness", 0.2)


def _hammered(g, p, base, kw):
    _, _, obj = g.coords()
    vor = g.node("ShaderNodeTexVoronoi", Vector=obj, Scale=kw.get("scale", 12.0))
    vor.feature = "SMOOTH_F1"
    g.set(p, "Metallic", 1.0)
    g.set(p, "Roughness", 0.24)
    g.set(p, "Normal", g.bump(vor.outputs["Distance"], 0.35, 0.06))


def _enamel(g, p, base, kw):
    g.set(p, "Roughness", 0.1)
    g.set(p, "Clearcoat", 0.6)


def _plastic(g, p, base, kw):
    g.set(p, "Roughness", 0.35)


def _leather(g, p, base, kw):
    _, _, obj = g.coords()
    vor = g.node("ShaderNodeTexVoronoi", Vector=obj, Scale=55.0)
    tone = g.noise(obj, 3.0, 3.0)
    dark = g.mix(1.0, base, (0.5, 0.42, 0.4, 1), "MULTIPLY")
    g.set(p, "Base Color", g.mix(g.math("MULTIPLY", tone, 0.7), base, dark))
    g.set(p, "Roughness", 0.42)
    g.set(p, "Normal", g.bump(vor.outputs["Distance"], 0.25, 0.02))


def _fabric(g, p, base, kw):
    """Woven cloth: a fine weave relief and soft folds."""
    u, v, obj = g.coords()
    k = kw.get("weave", 90.0) * 6.283
    over = g.math("MULTIPLY", g.math("SINE", g.math("MULTIPLY", u, k)),
                  g.math("SINE", g.math("MULTIPLY", v, k)))
    tone = g.noise(obj, 4.0, 4.0)
    dark = g.mix(1.0, base, (0.72, 0.70, 0.70, 1), "MULTIPLY")
    g.set(p, "Base Color", g.mix(g.math("MULTIPLY", tone, 0.5), base, dark))
    g.set(p, "Roughness", 0.95)
    g.set(p, "Specular", 0.1)
    folds = g.math("ADD", g.math("MULTIPLY", over, 0.05), g.noise(obj, 5.0, 2.0))
    g.set(p, "Normal", g.bump(folds, 0.35, 0.06))


def _knit(g, p, base, kw):
    """Rows of V stitches, coarse enough to read at 256 pixels."""
    u, v, _ = g.coords()
    k = kw.get("stitches", 22.0)
    zig = g.math("ABSOLUTE", g.math("SUBTRACT", cell(g, u, k), 0.5))
    row = cell(g, g.math("ADD", g.math("MULTIPLY", v, kw.get("ratio", 1.0)),
                          g.math("MULTIPLY", zig, 0.9 / k)), k)
    height = g.math("SUBTRACT", 1.0, g.math("ABSOLUTE", g.math(
        "SUBTRACT", g.math("MULTIPLY", row, 2.0), 1.0)))
    height = g.math("MULTIPLY", height, g.math("SUBTRACT", 1.2, g.math("MULTIPLY", zig, 1.4)))
    dark = g.mix(1.0, base, (0.4, 0.36, 0.36, 1), "MULTIPLY")
    g.set(p, "Base Color", g.mix(g.math("MINIMUM", g.math("MULTIPLY", height, 1.3), 1.0),
                                 dark, base))
    g.set(p, "Roughness", 1.0)
    g.set(p, "Specular", 0.05)
    g.set(p, "Normal", g.bump(height, 0.6, 0.04))


def _straw(g, p, base, kw):
    """Plaited straw: fine rows with each stitch toned a little differently."""
    u, v, obj = g.coords()
    rows = g.math("SINE", g.math("MULTIPLY", v, kw.get("rows", 26.0) * 6.283))
    cross = g.math("SINE", g.math("MULTIPLY", u, kw.get("cross", 110.0) * 6.283))
    fac = g.math("ADD", g.math("MULTIPLY", g.math("ADD", rows, cross), 0.16),
                 g.math("MULTIPLY", g.noise(obj, 20.0), 0.7))
    dark = g.mix(1.0, base, (0.5, 0.42, 0.3, 1), "MULTIPLY")
    g.set(p, "Base Color", g.mix(fac, dark, base))
    g.set(p, "Roughness", 0.8)
    g.set(p, "Normal", g.bump(rows, 0.4, 0.02))


def _wax(g, p, base, kw):
    g.set(p, "Roughness", 0.5)
    g.set(p, "Subsurface", 0.25)
    g.set(p, "Subsurface Radius", (0.12, 0.08, 0.05))
    if "Subsurface Color" in p.inputs:  # Blender 3 only; 4 takes the base colour
        g.set(p, "Subsurface Color", base)


def _brick(g, p, base, kw):
    """Tiles or bricks, for the rooms behind the shopper's pictures."""
    u, v, obj = g.coords()
    tc = g.node("ShaderNodeTexCoord")
    b = g.node("ShaderNodeTexBrick", Vector=tc.outputs["UV"], Scale=kw.get("scale", 5.0))
    b.offset = kw.get("offset", 0.5)
    g.set(b, "Color1", base)
    g.set(b, "Color2", g.mix(0.35, base, rgb("6b4a3a")))
    g.set(b, "Mortar", rgb(kw.get("mortar", "b9b4aa")))
    g.set(b, "Mortar Size", 0.012)
    g.set(b, "Brick Width", kw.get("width", 0.5))
    g.set(b, "Row Height", kw.get("row", 0.25))
    g.set(p, "Base Color", b.outputs["Color"])
    g.set(p, "Roughness", kw.get("gloss", 0.7))
    g.set(p, "Normal", g.bump(b.outputs["Fac"], -0.4, 0.02))


SURFACES = {
    "ceramic": _ceramic, "stoneware": _stoneware, "clay": _clay, "wood": _wood,
    "metal": _metal, "hammered": _hammered, "enamel": _enamel, "plastic": _plastic,
    "leather": _leather, "fabric": _fabric, "knit": _knit, "straw": _straw, "wax": _wax,
    "brick": _brick,
}
