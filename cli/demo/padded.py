"""Padded and flat-fronted parts: panels, pillows, their outlines, and lettering."""

import math

import bpy
from mathutils import Euler, Matrix

import shapes


def panel(outline, depth, mat, bulge=0.0, edge=0.03, name="panel", **kw):
    """A padded slab: an outline in x/z extruded along y, with rounded edges and bulging sides.

    UVs are planar from the front, so that stripes and checks run straight across it.
    """
    cx = sum(p[0] for p in outline) / len(outline)
    cz = sum(p[1] for p in outline) / len(outline)
    lo = [min(p[i] for p in outline) for i in (0, 1)]
    span = [max(p[i] for p in outline) - lo[i] for i in (0, 1)]
    h = depth / 2
    steps = [(0.001, h + bulge), (0.25, h + bulge * 0.95), (0.5, h + bulge * 0.78),
             (0.72, h + bulge * 0.5), (0.88, h + bulge * 0.2), (1 - edge, h), (1, h - edge)]
    layers = [(s, -y) for s, y in steps] + [(s, y) for s, y in reversed(steps)]
    n = len(outline)
    verts = [(cx + (x - cx) * s, y, cz + (z - cz) * s) for s, y in layers for x, z in outline]
    faces, uvs = [], []
    for k in range(len(layers) - 1):
        for i in range(n):
            ids = [k * n + i, k * n + (i + 1) % n, (k + 1) * n + (i + 1) % n, (k + 1) * n + i]
            faces.append(ids)
            uvs.append([((verts[t][0] - lo[0]) / span[0], (verts[t][2] - lo[1]) / span[1])
                        for t in ids])
    return shapes.add(name, verts, faces, uvs, mat, True, **kw)


def rounded(w, h, r, k=6, z0=0.0, top=None):
    """Outline of a rounded rectangle that stands on z0; top is its width at the top edge."""
    t = w if top is None else top
    pts = [(0, z0), (w / 2, z0), (t / 2, z0 + h), (-t / 2, z0 + h), (-w / 2, z0), (0, z0)]
    out = shapes.fillet(pts, r, k)[:-1]
    return _dense(out)


def ellipse(w, h, n=48, power=2.0, z0=0.0, start=0.0, end=360.0):
    """Outline of a (super)ellipse, or of an arc of one, that stands on z0."""
    out = []
    for i in range(n):
        a = math.radians(start + (end - start) * i / (n if end - start >= 360 else n - 1))
        c, s = math.cos(a), math.sin(a)
        out.append((w / 2 * math.copysign(abs(c) ** (2 / power), c),
                    z0 + h / 2 + h / 2 * math.copysign(abs(s) ** (2 / power), s)))
    return out


def _dense(pts, longest=0.08):
    """Splits long edges, so that a bulging panel bends evenly along them."""
    out = []
    for a, b in zip(pts, pts[1:] + pts[:1]):
        d = math.dist(a, b)
        n = max(1, int(d / longest))
        out += [(a[0] + (b[0] - a[0]) * i / n, a[1] + (b[1] - a[1]) * i / n) for i in range(n)]
    return out


def pillow(w, h, t, mat, n=30, **kw):
    """A stuffed square in x/z: thick in the middle, thin and drawn in along the edges."""
    verts, faces, uvs = [], [], []
    for side in (-1, 1):
        base = len(verts)
        for j in range(n + 1):
            for i in range(n + 1):
                u, v = 2 * i / n - 1, 2 * j / n - 1
                puff = (max(0.0, 1 - u ** 4) * max(0.0, 1 - v ** 4)) ** 0.6
                verts.append((w / 2 * u * (1 - .08 * (1 - v * v)), side * t / 2 * puff,
                              h / 2 * v * (1 - .08 * (1 - u * u)) + h / 2))
        for j in range(n):
            for i in range(n):
                a = base + j * (n + 1) + i
                ids = [a, a + 1, a + n + 2, a + n + 1]
                faces.append(ids if side < 0 else ids[::-1])
                quad = [(i / n, j / n), ((i + 1) / n, j / n), ((i + 1) / n, (j + 1) / n),
                        (i / n, (j + 1) / n)]
                uvs.append(quad if side < 0 else quad[::-1])
    return shapes.add("pillow", verts, faces, uvs, mat, True, **kw)


def text(words, size, mat, loc, rot=(90, 0, 0)):
    """Lettering in Blender's own font, facing the front."""
    curve = bpy.data.curves.new("text", "FONT")
    curve.body, curve.size, curve.extrude = words, size, 0.004
    curve.align_x = curve.align_y = "CENTER"
    curve.materials.append(mat)
    obj = bpy.data.objects.new("text", curve)
    shapes.collection().objects.link(obj)
    obj.matrix_world = Matrix.Translation(loc) @ Euler(
        [math.radians(a) for a in rot]).to_matrix().to_4x4()
    return obj
