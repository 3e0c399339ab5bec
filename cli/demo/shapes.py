"""Mesh building blocks: bodies of revolution, swept tubes, boxes and lofts.

Meshes are written point by point rather than with modifiers: this is fast, gives the same
result in every Blender version, and lets each block write the UV map that materials.py needs.
"""

import math

import bmesh
import bpy
from mathutils import Euler, Matrix, Vector

_collection = None


def use_collection(name):
    """Adds everything that is built from now on to this collection."""
    global _collection
    _collection = bpy.data.collections.get(name) or bpy.data.collections.new(name)
    if _collection.name not in bpy.context.scene.collection.children:
        bpy.context.scene.collection.children.link(_collection)
    return _collection


def collection():
    """The collection that new parts are added to."""
    return _collection


def add(name, verts, faces, uvs, mat, smooth=True, loc=(0, 0, 0), rot=(0, 0, 0)):
    """Makes a placed object of points, faces and one UV per face corner (rot in degrees)."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(verts, [], faces)
    if uvs:
        layer = mesh.uv_layers.new(name="UVMap")
        flat = [uv for face in uvs for uv in face]
        for i, uv in enumerate(flat):
            layer.data[i].uv = uv
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(mesh.polygons))
    if mat:
        mesh.materials.append(mat)
    obj = bpy.data.objects.new(name, mesh)
    _collection.objects.link(obj)
    return place(obj, loc, rot)


def place(obj, loc=(0, 0, 0), rot=(0, 0, 0), scale=(1, 1, 1)):
    """Applies a translation, a rotation (degrees) and a scale to the mesh."""
    turn = Euler([math.radians(a) for a in rot]).to_matrix().to_4x4()
    m = Matrix.Translation(loc) @ turn @ Matrix.Diagonal((*scale, 1.0))
    obj.data.transform(m)
    return obj


def spline(points, k=8):
    """A Catmull-Rom spline through points of any dimension, with k steps per span."""
    pts = [Vector(p) for p in points]
    ext = [2 * pts[0] - pts[1], *pts, 2 * pts[-1] - pts[-2]]
    out = []
    for i in range(1, len(ext) - 2):
        p0, p1, p2, p3 = ext[i - 1:i + 3]
        for j in range(k):
            t = j / k
            out.append(0.5 * ((2 * p1) + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t * t
                              + (3 * p1 - p0 - 3 * p2 + p3) * t ** 3))
    return [tuple(p) for p in out] + [tuple(pts[-1])]


def fillet(points, radius, k=4):
    """A polyline with rounded inner corners; real objects have no perfectly sharp edges."""
    pts = [Vector(p) for p in points]
    out = [pts[0]]
    for a, b, c in zip(pts, pts[1:], pts[2:]):
        r = min(radius, (a - b).length * 0.45, (c - b).length * 0.45)
        p, q = b + (a - b).normalized() * r, b + (c - b).normalized() * r
        for j in range(k + 1):
            t = j / k
            out.append(p * (1 - t) ** 2 + 2 * b * t * (1 - t) + q * t * t)
    out.append(pts[-1])
    return [tuple(p) for p in out]


def square(n=6.0):
    """Section of a rounded square, for lathe(section=...): n=2 is round, 8 nearly square."""
    return lambda a, v: (abs(math.cos(a)) ** n + abs(math.sin(a)) ** n) ** (-1.0 / n)


def flutes(count, depth):
    """Section with soft vertical ribs."""
    return lambda a, v: 1.0 + depth * math.cos(count * a)


def lathe(profile, mat, section=None, seg=72, twist=0.0, flat=False, by="z",
          stretch=(1, 1), loc=(0, 0, 0), rot=(0, 0, 0), name="lathe"):
    """A body of revolution: rotates a profile of (radius, height) points around the z axis.

    section(angle, v) scales the radius; twist rotates the section (degrees, foot to top); by
    is the direction of v in the UV map, height ("z") or radius ("r").
    """
    zs = [p[1] for p in profile]
    lo, hi = min(zs), max(zs)
    rmax = max(p[0] for p in profile) or 1.0
    verts, rings = [], []
    for r, z in profile:
        v = (z - lo) / ((hi - lo) or 1.0)
        if r < 1e-5:
            rings.append(([len(verts)] * seg, v if by == "z" else 0.0))
            verts.append((0, 0, z))
            continue
        ids = []
        for i in range(seg):
            a = 2 * math.pi * i / seg
            s = section(a, v) if section else 1.0
            b = a + math.radians(twist) * v
            ids.append(len(verts))
            verts.append((r * s * math.cos(b) * stretch[0], r * s * math.sin(b) * stretch[1], z))
        rings.append((ids, v if by == "z" else r / rmax))
    faces, uvs = [], []
    for (lower, v0), (upper, v1) in zip(rings, rings[1:]):
        for i in range(seg):
            j = (i + 1) % seg
            u0, u1 = i / seg, (i + 1) / seg
            corner = [(lower[i], (u0, v0)), (lower[j], (u1, v0)),
                      (upper[j], (u1, v1)), (upper[i], (u0, v1))]
            keep = []
            for c in corner:  # a point on the axis appears once, so the face is a triangle
                if c[0] not in [k[0] for k in keep]:
                    keep.append(c)
            if len(keep) >= 3:
                faces.append([k[0] for k in keep])
                uvs.append([k[1] for k in keep])
    return add(name, verts, faces, uvs, mat, not flat, loc, rot)


def vessel(outer, mat, wall=0.03, floor=0.05, **kw):
    """A hollow body from its outer profile (foot to lip), with a closed foot, round lip and inner wall."""
    # Straight runs need points too, or the inner profile would cut corners through the wall.
    fine = []
    for a, b in zip(outer, outer[1:]):
        n = max(1, int(math.dist(a, b) / 0.06))
        fine += [(a[0] + (b[0] - a[0]) * i / n, a[1] + (b[1] - a[1]) * i / n) for i in range(n)]
    outer = fine + [outer[-1]]
    (rl, zl) = outer[-1]
    inner = [(max(r - wall, 0.004), z) for r, z in outer if z > outer[0][1] + floor]
    inner = [(r, z) for r, z in inner if z < zl - wall * 0.3]
    lip = [(rl - wall * 0.15, zl + wall * 0.35), (rl - wall * 0.5, zl + wall * 0.5),
           (rl - wall * 0.85, zl + wall * 0.35)]
    bottom = outer[0][1] + floor
    r0 = inner[0][0] if inner else rl - wall
    full = [(0, outer[0][1]), (outer[0][0] * 0.96, outer[0][1])] + list(outer) + lip
    full += list(reversed(inner)) + [(r0 * 0.9, bottom), (0, bottom)]
    return lathe(full, mat, **kw)


def tube(path, radius, mat, seg=12, closed=False, squash=1.0, name="tube", **kw):
    """Sweeps a round (or squashed) section along a path; radius is a number or one per point."""
    pts = [Vector(p) for p in path]
    n = len(pts)
    radii = radius if isinstance(radius, (list, tuple)) else [radius] * n
    tangents = []
    for i in range(n):
        a = pts[i - 1] if (i or closed) else pts[0]
        b = pts[(i + 1) % n] if (i < n - 1 or closed) else pts[-1]
        tangents.append((b - a).normalized())
    up = Vector((0, 0, 1)) if abs(tangents[0].z) < 0.9 else Vector((0, 1, 0))
    normal = (up - tangents[0] * up.dot(tangents[0])).normalized()
    verts, faces, uvs = [], [], []
    for i in range(n):
        if i:  # parallel transport of the frame, so that the section does not twist
            normal = tangents[i - 1].rotation_difference(tangents[i]) @ normal
        side = tangents[i].cross(normal)
        for j in range(seg):
            a = 2 * math.pi * j / seg
            verts.append(pts[i] + radii[i] * (math.cos(a) * normal * squash + math.sin(a) * side))
    for i in range(n if closed else n - 1):
        k = (i + 1) % n
        for j in range(seg):
            m = (j + 1) % seg
            faces.append([i * seg + j, i * seg + m, k * seg + m, k * seg + j])
            uvs.append([(j / seg, i / n), ((j + 1) / seg, i / n),
                        ((j + 1) / seg, (i + 1) / n), (j / seg, (i + 1) / n)])
    if not closed:
        for ring in (list(range(seg))[::-1], list(range((n - 1) * seg, n * seg))):
            faces.append(ring)
            uvs.append([(0.5, 0.5)] * seg)
    return add(name, verts, faces, uvs, mat, True, **kw)


def rod(a, b, r0, mat, r1=None, **kw):
    """A straight, possibly tapered, bar from a to b."""
    return tube([a, b], [r0, r0 if r1 is None else r1], mat, **kw)


def ring(radius, thick, mat, n=72, **kw):
    """A torus lying flat."""
    path = [(radius * math.cos(2 * math.pi * i / n), radius * math.sin(2 * math.pi * i / n), 0)
            for i in range(n)]
    return tube(path, thick, mat, closed=True, **kw)


def ball(radius, mat, loc=(0, 0, 0), scale=(1, 1, 1), seg=40, **kw):
    """A sphere or, with scale, an ellipsoid."""
    k = seg // 2
    prof = [(radius * math.sin(math.pi * i / k), -radius * math.cos(math.pi * i / k))
            for i in range(k + 1)]
    prof[0], prof[-1] = (0, -radius), (0, radius)
    return place(lathe(prof, mat, seg=seg, **kw), loc, (0, 0, 0), scale)


def disc(radius, z0, z1, mat, edge=0.02, **kw):
    """A round slab with softened edges."""
    prof = fillet([(0, z0), (radius, z0), (radius, z1), (0, z1)], edge)
    return lathe(prof, mat, **kw)


def box(size, mat, loc=(0, 0, 0), rot=(0, 0, 0), bevel=0.02, name="box"):
    """A box with rounded edges, centred on loc; UVs are planar on each side."""
    bm = bmesh.new()
    bmesh.ops.create_cube(bm, size=1.0)
    bmesh.ops.scale(bm, vec=size, verts=bm.verts)
    if bevel:
        bmesh.ops.bevel(bm, geom=list(bm.edges), offset=min(bevel, min(size) * 0.45),
                        segments=3, profile=0.5, affect="EDGES")
    layer = bm.loops.layers.uv.new("UVMap")
    for face in bm.faces:
        n = [abs(c) for c in face.normal]
        i, j = [(1, 2), (0, 2), (0, 1)][n.index(max(n))]
        for loop in face.loops:
            co = loop.vert.co
            loop[layer].uv = (co[i] / size[i] + 0.5, co[j] / size[j] + 0.5)
    mesh = bpy.data.meshes.new(name)
    bm.to_mesh(mesh)
    bm.free()
    mesh.materials.append(mat)
    obj = bpy.data.objects.new(name, mesh)
    _collection.objects.link(obj)
    return place(obj, loc, rot)


def loft(rings, mat, smooth=True, caps=True, name="loft", **kw):
    """A surface through a stack of closed outlines (equal point counts); v of the UV map runs upwards."""
    n = len(rings[0])
    verts = [p for r in rings for p in r]
    faces, uvs = [], []
    for k in range(len(rings) - 1):
        v0, v1 = k / (len(rings) - 1), (k + 1) / (len(rings) - 1)
        for i in range(n):
            j = (i + 1) % n
            faces.append([k * n + i, k * n + j, (k + 1) * n + j, (k + 1) * n + i])
            uvs.append([(i / n, v0), ((i + 1) / n, v0), ((i + 1) / n, v1), (i / n, v1)])
    if caps:
        for ids in (list(range(n))[::-1], list(range((len(rings) - 1) * n, len(rings) * n))):
            faces.append(ids)
            uvs.append([(0.5, 0.5)] * n)
    return add(name, verts, faces, uvs, mat, smooth, **kw)
