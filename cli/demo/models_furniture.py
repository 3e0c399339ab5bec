"""Chairs and small tables."""

import math

from materials import make
from models_tableware import main_mat
from padded import panel, rounded
from shapes import box, disc, fillet, flutes, lathe, loft, place, ring, rod, spline, tube


def _legs(mat, w, d, h, r=.035, splay=.06, taper=.6):
    """Four legs under a seat of width w and depth d at height h."""
    for x in (-1, 1):
        for y in (-1, 1):
            rod((x * (w / 2 + splay), y * (d / 2 + splay), 0), (x * w / 2, y * d / 2, h),
                r * taper, mat, r)


def _seat_pad(w, d, z, t, mat, r=.12):
    """A cushioned seat: a padded panel laid flat."""
    pad = panel(rounded(w, d, r, z0=-d / 2), t * .5, mat, bulge=t * .35, edge=.06)
    return place(pad, (0, 0, z), (-90, 0, 0))


def _shell(outline, mat, z, thick=.03):
    """A moulded seat-and-back: a curve in y/z swept across x, its sides curling up."""
    k = 16
    grid = []
    for i, (y, h, w, curl) in enumerate(outline):
        row = []
        for j in range(k + 1):
            u = 2 * j / k - 1
            lift = curl * abs(u) ** 2.6
            back = i / len(outline) > .5
            row.append((w / 2 * u, y - (lift if back else 0), z + h + (0 if back else lift)))
        grid.append(row)
    rings = [[*row, *[(x, y + thick * .7, q - thick * .7) for x, y, q in reversed(row)]]
             for row in grid]
    return loft(rings, mat)


def chair(o):
    mat, body = main_mat(o), o["body"]
    legm = make(*o["legs"], axis="z") if "legs" in o else mat
    seat = make(*o["seat"], weave=30) if "seat" in o else mat
    if body == "slat":  # ladder-back dining chair
        _legs(mat, .74, .68, .8, .04, .02)
        box((.86, .8, .06), seat, (0, 0, .83), bevel=.03)
        for x in (-.37, .37):
            rod((x, .34, .8), (x * 1.02, .48, 1.75), .035, mat, .028)
        for i in range(o.get("slats", 3)):
            z = 1.12 + i * .24
            y = .34 + (z - .8) * .147
            tube(spline([(-.37, y, z), (0, y + .07, z), (.37, y, z)], 8), .062, mat, squash=1.0)
        for x in (-.37, .37):
            rod((x, -.34, .35), (x, .34, .35), .02, mat)
    elif body == "windsor":
        _legs(mat, .5, .46, .8, .04, .16)
        disc(.47, .78, .86, seat, .03)
        hoop = [(.44 * math.cos(t), .1 + .3 * abs(math.sin(t)) ** .5, .86 + .9 * math.sin(t) ** .8)
                for t in [math.pi * i / 24 for i in range(25)]]
        tube(hoop, .03, mat)
        for i in range(1, 8):
            t = math.pi * i / 8
            k = 24 * i // 8
            rod((.34 * math.cos(t), .1 + .28 * math.sin(t), .84), hoop[k], .016, mat)
        rod((-.3, 0, .4), (.3, 0, .4), .02, mat)
    elif body == "padded":  # upholstered dining chair
        _legs(legm, .64, .6, .72, .045, .04)
        _seat_pad(.86, .82, .82, .24, mat)
        back = panel(rounded(.86, 1.0, .16, z0=0), .12, mat, bulge=.06)
        place(back, (0, .42, .86), (-10, 0, 0))
        if o.get("buttons"):
            for x in (-.22, 0, .22):
                for z in (.3, .62):
                    place(disc(.025, 0, .03, make("metal", "gold")), (x, .30 + z * .17, .9 + z),
                          (80, 0, 0))
    elif body == "tub":  # a round armchair
        h = .5
        rings = []
        for s, z in ((1.0, .30), (1.04, .5), (1.08, .9), (1.05, 1.1), (.98, 1.16), (.86, 1.12),
                     (.8, .9), (.8, .36)):
            ring_pts = []
            for i in range(49):
                a = math.radians(-18 + 216 * i / 48)
                drop = .32 * max(0, -math.sin(a)) if z > .8 else 0
                drop += (.24 * (1 - max(0, math.sin(a))) if z > .8 else 0)
                ring_pts.append((.66 * s * math.cos(a), .62 * s * math.sin(a), z - drop))
            rings.append(ring_pts)
        loft([list(r) for r in zip(*rings)], mat)
        place(panel(rounded(1.0, 1.02, .3, z0=-.5), .22, mat, bulge=.07), (0, -.06, h + .02),
              (-90, 0, 0))
        _legs(legm, .7, .66, .24, .045, .03)
    elif body == "metal":  # stamped bistro chair
        _legs(mat, .56, .56, .8, .05, .12, .8)
        box((.78, .76, .05), seat, (0, 0, .82), bevel=.04)
        for x in (-.33, .33):
            tube(spline([(x, .34, .8), (x * 1.05, .4, 1.2), (x * .9, .46, 1.5), (x * .5, .48, 1.62),
                         (0, .485, 1.64)], 6), .035, mat)
        panel(rounded(.3, .66, .04, z0=0), .02, mat, loc=(0, .42, .92), rot=(-7, 0, 0))
        rod((-.34, -.3, .3), (.34, .3, .3), .02, mat)
        rod((-.34, .3, .3), (.34, -.3, .3), .02, mat)
    elif body == "shell":  # moulded plastic, dowel legs
        line = [(-.42, -.06, .62, .02), (-.38, .0, .78, .06), (-.2, -.01, .86, .10), (0, -.03, .88, .13),
                (.2, -.02, .86, .15), (.32, .08, .86, .16), (.38, .24, .88, .2), (.42, .42, .88, .18),
                (.46, .6, .82, .12), (.49, .72, .66, .06), (.495, .75, .5, .02)]
        _shell(spline(line, 4), mat, .86)
        _legs(legm, .4, .36, .84, .04, .2)
        for a, b in (((-.3, -.28, .6), (.3, .28, .6)), ((-.3, .28, .6), (.3, -.28, .6))):
            rod(a, b, .012, make("metal", "2a2a2c"))
    elif body == "rattan":  # a peacock-like round back with radiating canes
        _legs(mat, .6, .56, .72, .04, .05)
        for z in (.70, .78):
            ring(.46, .035, mat, loc=(0, 0, z))
        disc(.45, .72, .84, seat, .05)
        hoop = [(.62 * math.cos(t), .42 + .12 * math.sin(t), 1.28 + .56 * math.sin(t)) for t in
                [2 * math.pi * i / 48 for i in range(48)]]
        tube(hoop, .04, mat, closed=True)
        for i in range(24):
            rod((0, .38, .86), hoop[i * 2], .013, mat)
        for k in (.45, .75):
            tube([(x * k, .40 + (y - .40) * k, .9 + (z - .9) * k) for x, y, z in hoop], .014, mat,
                 closed=True)
    elif body == "fold":  # folding garden chair
        for x in (-.4, .4):
            rod((x, -.42, 0), (x, .36, 1.7), .03, mat)
            rod((x * .9, .42, 0), (x * .9, -.3, .86), .03, mat)
        for i in range(5):
            box((.82, .12, .03), seat, (0, -.3 + i * .145, .86), bevel=.012)
        for i in range(3):
            z = 1.2 + i * .2
            box((.86, .03, .12), seat, (0, -.42 + .78 * z / 1.7 - .03, z), (-25, 0, 0), bevel=.012)


def table(o):
    mat, body = main_mat(o), o["body"]
    legm = make(*o["legs"], axis="z") if "legs" in o else mat
    if body == "tripod":
        disc(.6, 1.0, 1.06, mat, .03)
        for i in range(3):
            a = math.radians(120 * i + 30)
            rod((.52 * math.cos(a), .52 * math.sin(a), 0), (.2 * math.cos(a), .2 * math.sin(a), 1.0),
                .03, legm, .045)
    elif body == "four":
        box((1.1, 1.1, .08), mat, (0, 0, .96), bevel=.02)
        _legs(legm, .94, .94, .93, .045, .0, .7)
        if o.get("shelf"):
            box((.98, .98, .04), mat, (0, 0, .3), bevel=.01)
        if o.get("drawer"):
            box((.92, .92, .22), mat, (0, 0, .82), bevel=.02)
            box((.8, .03, .17), mat, (0, -.465, .82), bevel=.015)
            place(disc(.04, 0, .07, make("metal", "gold")), (0, -.48, .82), (90, 0, 0))
    elif body == "hairpin":
        box((1.5, .8, .07), mat, (0, 0, .85), bevel=.02)
        iron = make("plastic", "1b1b1d", rough=.4)
        for x in (-1, 1):
            for y in (-1, 1):
                tube(fillet([(x * .66, y * .2, .82), (x * .7, y * .33, .02), (x * .55, y * .34, .82)],
                            .05), .022, iron)
    elif body == "tulip":
        disc(.68, .98, 1.03, mat, .025)
        lathe(spline([(.46, 0), (.40, .03), (.12, .14), (.06, .4), (.07, .75), (.2, .97), (0, .98)]),
              legm)
    elif body == "drum":
        lathe(fillet([(0, 0), (.42, 0), (.52, .4), (.42, .84), (0, .84)], .06), mat,
              section=flutes(o["ribs"], .03) if "ribs" in o else None, seg=180)
        disc(.45, .84, .88, legm, .02)
    elif body == "tray":
        lathe(fillet([(0, .88), (.62, .88), (.64, 1.0), (.60, 1.0), (.58, .92), (0, .92)], .02), mat)
        for s in (-1, 1):
            for q in (-1, 1):
                rod((s * .42, q * .42, 0), (-s * .42, q * .42, .88), .025, legm)
            rod((s * .42, -.42, 0), (s * .42, .42, 0), .025, legm)
        for q in (-1, 1):
            rod((-.42, q * .42, .88), (.42, q * .42, .88), .02, legm)
    elif body == "cshape":
        box((.9, .7, .05), mat, (0, 0, 1.1), bevel=.01)
        for y in (-.28, .28):
            tube(fillet([(-.42, y, 1.07), (.40, y, 1.07), (.40, y, .03), (-.42, y, .03)], .06), .03,
                 legm)
        rod((-.42, -.28, .03), (-.42, .28, .03), .03, legm)
    elif body == "nest":
        for s, z, off in ((1.0, .95, 0), (.74, .68, -.42)):
            disc(.55 * s, z, z + .05, mat, .02, loc=(off * .9, off, 0))
            for i in range(3):
                a = math.radians(120 * i + 90)
                x, y = .46 * s * math.cos(a) + off * .9, .46 * s * math.sin(a) + off
                rod((x, y, 0), (x, y, z), .022, legm)
            ring(.46 * s, .018, legm, loc=(off * .9, off, .06))


MODELS = {"chair": chair, "table": table}
