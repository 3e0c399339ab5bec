"""The scenes of the pictures: the shop's studio, and the shopper's table, floor or wall.

All sizes are relative to the model's bounding radius R, so one set fits a ring and a chair
alike. The camera stays in front (looking along +y) and the model is rotated, so that light,
props and backdrop stay in place.
"""

import math

import bpy
from mathutils import Matrix, Vector

import props
import shapes
from materials import make

CLOTH = ["d9d2c3", "6d7f8d", "8c3f3c", "3f4a45", "c7a46a", "b9bfc4", "54486b", "2f3438"]
WALLS = ["d8d3c8", "b7c3b8", "c9b7a2", "8fa0ae", "e6dfd2", "a5694f", "6d7468", "ccb9b4"]
LIGHTS = [(1, .76, .48), (1, .86, .66), (.78, .88, 1), (.9, 1, .86), (1, .97, .92), (1, .7, .42)]


def reset(size, threads, samples):
    """Empties Blender's scene and applies the render settings of all pictures."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    s = bpy.context.scene
    s.render.engine = "CYCLES"
    s.render.resolution_x = s.render.resolution_y = size
    s.render.threads_mode, s.render.threads = "FIXED", threads
    s.render.image_settings.file_format = "JPEG"
    s.render.image_settings.quality = 85
    s.view_settings.view_transform = "Standard"  # Blender 4 replaced Filmic by AgX; Standard exists in all versions
    c = s.cycles
    c.device = "CPU"
    c.max_bounces, c.diffuse_bounces, c.glossy_bounces = 8, 1, 3
    c.transmission_bounces, c.transparent_max_bounces = 8, 8
    c.caustics_reflective = c.caustics_refractive = False
    c.sample_clamp_indirect = 3.0
    c.use_adaptive_sampling = False
    if hasattr(c, "use_light_tree"):
        c.use_light_tree = False  # with two lamps, sampling is faster without it
    # Debian's Blender has no denoiser; it takes more samples instead.
    c.use_denoising = can_denoise()
    c.samples = samples if c.use_denoising else samples * 4
    return s


def can_denoise():
    try:
        import _cycles
        return bool(_cycles.with_openimagedenoise)
    except (ImportError, AttributeError):
        return False


def bounds(objects):
    """Sampled points of the model, its box and its bounding radius."""
    pts = []
    for o in objects:
        if o.type != "MESH":
            continue
        vs = o.data.vertices
        step = max(1, len(vs) // 1500)
        pts += [o.matrix_world @ vs[i].co for i in range(0, len(vs), step)]
    lo = Vector([min(p[i] for p in pts) for i in range(3)])
    hi = Vector([max(p[i] for p in pts) for i in range(3)])
    return pts, lo, hi, (hi - lo).length / 2


def turn(objects, degrees):
    for o in objects:
        o.matrix_world = Matrix.Rotation(math.radians(degrees), 4, "Z") @ o.matrix_world
    bpy.context.view_layer.update()


def camera(pts, lo, hi, az, el, focal, fill, offset=(0, 0), roll=0.0, blur=0.0):
    """Aims the camera at the model from az/el so that the model fills this part of the frame."""
    data = bpy.data.cameras.new("camera")
    cam = bpy.data.objects.new("camera", data)
    s = bpy.context.scene
    s.collection.objects.link(cam)
    s.camera = cam
    data.lens, data.sensor_width = focal, 36.0
    a, e = math.radians(az), math.radians(el)
    away = Vector((math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)))
    turned = (-away).to_track_quat("-Z", "Y").to_matrix() @ Matrix.Rotation(
        math.radians(roll), 3, "Z")
    target, tan = (lo + hi) / 2, 18.0 / focal
    dist = (hi - lo).length * 1.5
    for _ in range(8):
        pos = target + away * dist
        flat = [turned.transposed() @ (p - pos) for p in pts]
        xs = [p.x / max(-p.z, 0.01) / tan for p in flat]
        ys = [p.y / max(-p.z, 0.01) / tan for p in flat]
        extent = max(max(xs) - min(xs), max(ys) - min(ys)) / 2
        dist *= extent / fill
    data.shift_x = (max(xs) + min(xs)) / 4 + offset[0] / 2
    data.shift_y = (max(ys) + min(ys)) / 4 + offset[1] / 2
    cam.matrix_world = Matrix.Translation(target + away * dist) @ turned.to_4x4()
    data.clip_start, data.clip_end = dist * 0.02, dist * 100
    if blur:
        data.dof.use_dof = True
        data.dof.focus_distance = dist * 0.97
        data.dof.aperture_fstop = focal * 0.001 / (blur * dist)
    return cam


def lamp(R, az, el, size, level, colour=(1, 1, 1), dist=4.0, aim=(0, 0, 0)):
    """A square area light; at level 1, a white sheet facing it renders as about full white."""
    data = bpy.data.lights.new("lamp", "AREA")
    data.size = size * R
    data.color = colour
    data.energy = level * 8.0 * (dist * R) ** 2
    a, e = math.radians(az), math.radians(el)
    v = Vector((math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)))
    obj = bpy.data.objects.new("lamp", data)
    bpy.context.scene.collection.objects.link(obj)
    obj.matrix_world = Matrix.Translation(Vector(aim) + v * dist * R) @ (
        -v).to_track_quat("-Z", "Y").to_matrix().to_4x4()


def world(colour, level):
    w = bpy.data.worlds.new("world")
    bpy.context.scene.world = w
    w.use_nodes = True
    w.cycles.sampling_method = "NONE"  # a uniform sky does not need light sampling
    w.node_tree.nodes["Background"].inputs[0].default_value = (*colour, 1)
    w.node_tree.nodes["Background"].inputs[1].default_value = level


def sheet(w, d, mat, loc=(0, 0, 0), rot=(0, 0, 0), tile=1.0):
    """A flat rectangle whose UV map counts tiles."""
    x, y, u, v = w / 2, d / 2, w / tile, d / tile
    return shapes.add("sheet", [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], [[0, 1, 2, 3]],
                       [[(0, 0), (u, 0), (u, v), (0, v)]], mat, False, loc, rot)


def studio(objects, rng, view, place, angle):
    """A listing photo: seamless light ground, big soft light. angle is (rotation, elevation)."""
    az, el = angle
    az += rng.uniform(-8, 8)
    el += rng.uniform(-3, 4)
    wall = place == "wall"
    if not wall:
        turn(objects, -az)
    pts, lo, hi, R = bounds(objects)
    shapes.use_collection("set")
    tone = rng.choice(["e4e3e1", "e6e2dc", "dfe2e4", "e8e6e4"])
    paper = make("plastic", tone, rough=0.9)
    if wall:
        sheet(40 * R, 40 * R, paper, (0, hi.y + 0.001, 0), (90, 0, 0))
        lamp(R, -35, 50, 4.0, 0.92, aim=(0, 0, (lo.z + hi.z) / 2))
        world((1, 1, 1), 0.58)
    else:
        w, d, r = 40 * R, 9 * R, 5 * R
        curve = [(-12 * R, 0.0), (d - r, 0.0)]
        curve += [(d - r + r * math.sin(t * math.pi / 20), r - r * math.cos(t * math.pi / 20))
                  for t in range(1, 11)] + [(d, 30 * R)]
        verts = [(x, y, z) for y, z in curve for x in (-w, w)]
        faces = [[2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2] for i in range(len(curve) - 1)]
        shapes.add("ground", verts, faces, None, paper, True, (0, 0, lo.z))
        side = rng.choice((-1, 1))
        lamp(R, side * 50, 55, 4.0, 0.92, aim=(0, 0, R / 2))
        lamp(R, -side * 70, 30, 3.0, 0.18, aim=(0, 0, R / 2))
        world((1, 1, 1), 0.58)
    fill = rng.uniform(0.74, 0.82) if view == 1 else rng.uniform(0.82, 0.9)
    focal = rng.uniform(65, 85) if view == 1 else rng.uniform(45, 60)
    camera(pts, lo, hi, az if wall else 0, 8 if wall and view == 2 else (0 if wall else el),
           focal, fill)


def shopper(objects, rng, place, el_range, size_cm, front):
    """A shopper's phone picture: a lived-in place, other light, a careless angle."""
    az = rng.choice((-1, 1)) * rng.uniform(12, front)
    el = rng.uniform(*el_range)
    if place != "wall":
        turn(objects, -az)
    pts, lo, hi, R = bounds(objects)
    unit = max(hi - lo) / size_cm  # scene units per centimetre, to size the props
    shapes.use_collection("set")
    colour = rng.choice(LIGHTS)
    if place == "wall":
        _wall_set(rng, R, lo, hi, unit)
    else:
        _ground_set(rng, R, lo, hi, place)
        props.scatter(rng, R, lo, hi, unit, place)
    aim = (lo + hi) / 2
    key = rng.uniform(0.7, 1.05)
    lamp(R, rng.choice((-1, 1)) * rng.uniform(25, 100), rng.uniform(30, 65),
         rng.choice((0.5, 1.2, 2.5)), key, colour, 4.5, aim)
    lamp(R, rng.uniform(-60, 60), rng.uniform(30, 60), 4.0, 0.18, rng.choice(LIGHTS), 5.0, aim)
    world(rng.choice(LIGHTS[1:5]), rng.uniform(0.22, 0.42))
    camera(pts, lo, hi, az * 0.7 if place == "wall" else 0, rng.uniform(-14, 12)
           if place == "wall" else el, rng.uniform(24, 36), rng.uniform(0.68, 0.92),
           (rng.uniform(-0.16, 0.16), rng.uniform(-0.14, 0.12)), rng.uniform(-6, 6),
           rng.uniform(0.006, 0.02))
    _phone(rng)


def _ground_set(rng, R, lo, hi, place):
    """The surface that the model stands on, and the room behind it."""
    ground = rng.choice({"sofa": ["cloth"], "floor": ["wood", "planks", "planks", "tiles", "cloth"]}
                        .get(place, ["wood", "planks", "cloth", "tiles", "marble"]))
    if ground == "wood":
        mat = make("wood", rng.choice(["8a5a33", "b98a58", "5d3d27", "c9a477"]),
                   axis=rng.choice("xy"))
    elif ground == "planks":
        mat = make("brick", rng.choice(["9a6a40", "b58a5c", "6d4a30"]), mortar="3b2a1e",
                   scale=1.0, row=0.14, width=1.7, gloss=0.4)
    elif ground == "cloth":
        mat = make("fabric", rng.choice(CLOTH), rng.choice(CLOTH),
                   rng.choice([None, "check", "bands", "stripes"]), n=1.0,
                   duty=rng.choice((0.2, 0.5)), weave=9.0)
    elif ground == "tiles":
        mat = make("brick", rng.choice(["b9b6b0", "7f8a8c", "c4a78e"]), scale=1.0, offset=0.0,
                   row=0.5, mortar="e4e1da", gloss=0.3)
    else:
        mat = make("plastic", "cfcac3", "6f6a66", "marble", n=1.1, rough=0.2)
    big = 14 * R
    sheet(2 * big, 2 * big, mat, (0, 0, lo.z), (0, 0, rng.uniform(-30, 30)), tile=1.6 * R)
    depth = max(abs(hi.y), R * 0.5) + R * rng.uniform(0.7, 4.0)
    wall = WALLS[rng.randrange(len(WALLS))]
    if place == "sofa":
        cover = make("fabric", rng.choice(CLOTH), weave=30.0)
        shapes.box((9 * R, 0.9 * R, 3.6 * R), cover, (0, hi.y + 0.42 * R, lo.z + 1.1 * R),
                   (-6, 0, 0), 0.3 * R)
        return
    wmat = make("brick", wall, scale=1.0, row=0.2) if rng.random() < 0.25 else make(
        "plastic", wall, rng.choice(WALLS), rng.choice([None, None, "stripes", "dots"]), n=2.0,
        duty=0.25, rough=0.8)
    sheet(2 * big, big, wmat, (0, depth, lo.z + big / 2 - R * 0.2), (90, 0, 0), tile=1.8 * R)
    if place == "floor":
        skirting = make("plastic", "e9e7e2", rough=0.4)
        shapes.box((2 * big, 0.06 * R, 0.22 * R), skirting, (0, depth - 0.03 * R,
                                                             lo.z + 0.11 * R), bevel=0)
    elif rng.random() < 0.5:  # a window, out of focus
        x = rng.uniform(-3, 3) * R
        pane = make("emit", rng.choice(["cfe0f2", "f6e8cf"]), glow=rng.uniform(0.8, 1.5))
        shapes.box((1.6 * R, 0.02, 2.2 * R), pane, (x, depth - 0.02, lo.z + 2.6 * R))


def _wall_set(rng, R, lo, hi, unit):
    """A wall with another object on it."""
    kind = rng.choice(["plain", "brick", "paper", "wood"])
    colour = rng.choice(WALLS)
    if kind == "brick":
        mat = make("brick", rng.choice(["a5694f", "c9beb0"]), scale=1.0, row=0.14)
    elif kind == "wood":
        mat = make("brick", "b08a5e", mortar="4a3524", scale=1.0, row=0.12, width=2.0, gloss=0.5)
    else:
        mat = make("plastic", colour, rng.choice(WALLS),
                   rng.choice(["stripes", "diamond", "dots"]) if kind == "paper" else None,
                   n=2.0, duty=0.3, rough=0.85)
    sheet(40 * R, 40 * R, mat, (0, hi.y + 0.001, 0), (90, 0, 0), tile=1.2 * R)
    props.on_wall(rng, R, lo.z, hi.y, unit)


def _phone(rng):
    """The look of a small sensor: some render noise, slight softness, varying exposure."""
    s = bpy.context.scene
    s.view_settings.exposure = rng.uniform(-0.15, 0.4)
    s.use_nodes = True
    t = s.node_tree
    t.nodes.clear()
    src = t.nodes.new("CompositorNodeRLayers")
    image = src.outputs["Image"]
    if s.cycles.use_denoising:
        bpy.context.view_layer.cycles.denoising_store_passes = True
        if "Noisy Image" in src.outputs:
            mix = t.nodes.new("CompositorNodeMixRGB")
            mix.inputs[0].default_value = rng.uniform(0.12, 0.35)
            t.links.new(image, mix.inputs[1])
            t.links.new(src.outputs["Noisy Image"], mix.inputs[2])
            image = mix.outputs[0]
    soft = t.nodes.new("CompositorNodeFilter")
    soft.filter_type = "SOFTEN"
    soft.inputs[0].default_value = rng.choice((0.0, 0.4, 0.8))
    t.links.new(image, soft.inputs[1])
    out = t.nodes.new("CompositorNodeComposite")
    t.links.new(soft.outputs[0], out.inputs[0])
