"""Mugs, vases, bowls, plates, teapots and bottles. Each builder takes a listing's look.

Keys of a look: k, c, c2, pat, n, duty, rough define the body's material (see materials.py);
the other keys are specific to the builder and define the shape.
"""

import math

from materials import make
from shapes import (ball, box, disc, fillet, flutes, lathe, ring, rod, spline,
                    square, tube, vessel)


def main_mat(o, **extra):
    """The body material of a look."""
    keys = {"pat": "pattern", "c2": "colour2", "n": "n", "duty": "duty", "rough": "rough",
            "axis": "axis", "scale": "scale", "stitches": "stitches", "weave": "weave"}
    kw = {full: o[short] for short, full in keys.items() if short in o}
    kw.update(extra)
    return make(o["k"], o["c"], **kw)


def _handle(kind, r, h, mat, thick=0.055):
    """A handle on the +x side of a body of radius r(z) and height h."""
    if kind == "c":
        p = [(r(.8 * h), .80 * h), (r(.8 * h) + .24, .80 * h), (r(.5 * h) + .33, .52 * h),
             (r(.3 * h) + .22, .25 * h), (r(.22 * h), .22 * h)]
    elif kind == "ear":
        p = [(r(.85 * h), .85 * h), (r(.9 * h) + .2, .97 * h), (r(.6 * h) + .36, .7 * h),
             (r(.4 * h) + .16, .36 * h), (r(.3 * h), .34 * h)]
    elif kind == "square":
        p = fillet([(r(.8 * h), .8 * h), (r(.8 * h) + .3, .8 * h), (r(.8 * h) + .3, .25 * h),
                    (r(.25 * h), .25 * h)], 0.07)
    elif kind == "loop":  # a small finger ring near the lip
        p = [(r(.8 * h) + .13 + .15 * math.cos(math.radians(a)),
              .72 * h + .15 * math.sin(math.radians(a))) for a in range(160, -161, -20)]
    else:
        return
    pts = [(x - 0.02 if i in (0, len(p) - 1) else x, 0, z) for i, (x, z) in enumerate(p)]
    tube(spline(pts, 6), thick, mat, squash=0.75)


MUGS = {
    "straight": [(.40, 0), (.42, .03), (.42, .95)],
    "tapered": [(.33, 0), (.36, .03), (.46, 1.1)],
    "barrel": [(.34, 0), (.46, .22), (.50, .5), (.46, .8), (.41, .98)],
    "wide": [(.30, 0), (.40, .1), (.56, .35), (.62, .62)],
    "tulip": [(.30, 0), (.42, .12), (.44, .4), (.38, .72), (.45, 1.0)],
    "espresso": [(.25, 0), (.31, .06), (.36, .55)],
    "cone": [(.50, 0), (.50, .05), (.38, .95)],
}


def mug(o):
    mat = main_mat(o)
    pts = MUGS[o["body"]]
    prof = fillet(pts, .06) if len(pts) <= 3 else spline(pts, 8)
    h = prof[-1][1]
    section = {"square": square(5), "fluted": flutes(20, .025)}.get(o.get("section"))
    seg = 8 if o.get("section") == "facet" else 72
    vessel(prof, mat, .035, .06, section=section, seg=seg, flat=seg == 8)

    def radius(z):
        for (r0, z0), (r1, z1) in zip(prof, prof[1:]):
            if z0 <= z <= z1 and z1 > z0:
                return (r0 + (r1 - r0) * (z - z0) / (z1 - z0)) * (.95 if seg == 8 else 1.0)
        return prof[-1][0]
    hmat = make(*o["hmat"]) if "hmat" in o else mat
    _handle(o.get("handle", "c"), radius, h, hmat, o.get("hthick", .055))
    if "rim" in o:
        ring(prof[-1][0] - .01, .022, make("enamel", o["rim"]), loc=(0, 0, h + .012))
    if "sleeve" in o:
        lathe([(radius(.3 * h) + .015, .28 * h), (radius(.3 * h) + .03, .3 * h),
               (radius(.62 * h) + .03, .62 * h), (radius(.62 * h) + .015, .64 * h)],
              make(*o["sleeve"]))
    if o.get("saucer"):
        lathe(fillet([(0, 0), (.3, 0), (.6, .06), (.6, .09), (.3, .04), (0, .04)], .03), mat,
              loc=(0, 0, -.04))


VASES = {
    "bottle": [(.30, 0), (.42, .25), (.36, .55), (.14, .85), (.11, 1.25), (.15, 1.4)],
    "amphora": [(.20, 0), (.30, .2), (.46, .7), (.38, 1.0), (.17, 1.2), (.18, 1.35), (.25, 1.45)],
    "cylinder": [(.30, 0), (.32, .03), (.32, 1.2)],
    "bud": [(.25, 0), (.46, .22), (.50, .45), (.38, .7), (.14, .86), (.13, 1.02)],
    "tall": [(.28, 0), (.24, .3), (.22, .8), (.34, 1.5)],
    "gourd": [(.26, 0), (.44, .3), (.30, .62), (.30, .72), (.36, .92), (.16, 1.2), (.14, 1.4)],
    "trumpet": [(.26, 0), (.20, .12), (.13, .4), (.17, .8), (.42, 1.3)],
    "urn": [(.28, 0), (.50, .35), (.56, .7), (.42, 1.0), (.34, 1.08), (.40, 1.2)],
    "block": [(.36, 0), (.38, .03), (.38, .85), (.34, .9), (.17, .92), (.16, 1.05)],
}


def vase(o):
    mat = main_mat(o)
    pts = VASES[o["body"]]
    prof = fillet(pts, .05) if o["body"] in ("cylinder", "block") else spline(pts, 8)
    section = {"square": square(6), "ribbed": flutes(o.get("ribs", 18), .035),
               "lobed": flutes(6, .07)}.get(o.get("section"))
    seg = 7 if o.get("section") == "facet" else 120 if section else 72
    vessel(prof, mat, .035, .08, section=section, seg=seg, flat=seg == 7,
           twist=o.get("twist", 0))
    if o.get("handles"):
        for s in (-1, 1):
            path = [(s * .16, 0, 1.28), (s * .38, 0, 1.3), (s * .5, 0, 1.08), (s * .40, 0, .92)]
            tube(spline(path, 6), .04, mat)
    for i in range(o.get("stems", 0)):  # dried grass, so that a narrow vase reads as a vase
        a = i * 2.4
        top = prof[-1][1]
        path = spline([(0, 0, top - .3), (.05 * math.cos(a), .05 * math.sin(a), top + .2),
                       (.22 * math.cos(a), .22 * math.sin(a), top + .65 + .1 * math.sin(i))], 6)
        tube(path, .008, make("plastic", "a98b52"))
        tube(path[-6:], [.01, .03, .04, .04, .025, .006], make("plastic", "d9bd85", rough=1.0))


BOWLS = {
    "round": [(.25, 0), (.30, .03), (.58, .22), (.72, .5)],
    "wide": [(.30, 0), (.34, .03), (.75, .14), (1.0, .30)],
    "deep": [(.30, 0), (.44, .06), (.60, .36), (.60, .66)],
    "foot": [(.30, 0), (.28, .12), (.32, .16), (.60, .32), (.74, .62)],
    "cone": [(.20, 0), (.24, .03), (.80, .52)],
    "low": [(.62, 0), (.70, .04), (.74, .24)],
    "pedestal": [(.36, 0), (.34, .05), (.12, .14), (.10, .42), (.30, .5), (.70, .6), (.86, .78)],
    "rice": [(.22, 0), (.22, .07), (.42, .16), (.54, .36), (.58, .46)],
}


def bowl(o):
    mat = main_mat(o)
    pts = BOWLS[o["body"]]
    prof = fillet(pts, .07) if o["body"] in ("low", "cone") else spline(pts, 8)
    section = {"square": square(5), "fluted": flutes(24, .03), "scallop": flutes(10, .06)}.get(
        o.get("section"))
    if o.get("spout"):  # the lip pulled out on one side
        section = lambda a, v: 1 + .2 * math.exp(-(min(a, 2 * math.pi - a) / .2) ** 2) * max(  # noqa
            0.0, v - .55) / .45
    vessel(prof, mat, o.get("wall", .035), .05, section=section, seg=120 if section else 72,
           stretch=o.get("stretch", (1, 1)))
    if "inner" in o:  # a second colour inside, drawn as a thin lining
        inner = make(*o["inner"])
        line = [(r - .042, z + .008) for r, z in prof if z > .06]
        lathe([(0, .06)] + line, inner, section=section, stretch=o.get("stretch", (1, 1)))
    if "rim" in o:
        ring(prof[-1][0] - .015, .022, make("enamel", o["rim"]), loc=(0, 0, prof[-1][1] + .012))
    if o.get("lugs"):
        r, h = prof[-1]
        for s in (-1, 1):
            tube(spline([(s * r, -.16, h - .1), (s * (r + .16), -.1, h - .06),
                         (s * (r + .16), .1, h - .06), (s * r, .16, h - .1)], 6), .035, mat)
    for i in range(o.get("fruit", 0)):
        a = i * 2.1
        ball(.19, make("plastic", ("d98a2c", "a9b843", "c23b2d")[i % 3], rough=.35),
             (.24 * math.cos(a), .24 * math.sin(a), prof[-1][1] - .08))


def plate(o):
    mat = main_mat(o)
    form = o["body"]
    prof = {"dinner": [(0, .02), (.55, .02), (.62, .04), (1.0, .11), (1.0, .145), (.62, .075),
                       (.55, .055), (0, .055)],
            "coupe": [(0, 0), (.6, .01), (.9, .08), (1.0, .18), (.98, .2), (.86, .11), (.6, .05),
                      (0, .045)],
            "flat": [(0, 0), (.98, 0), (1.0, .1), (.96, .1), (.94, .035), (0, .035)],
            "deep": [(0, 0), (.5, 0), (.62, .16), (1.0, .22), (1.0, .25), (.6, .2), (.48, .05),
                     (0, .045)]}[form]
    section = {"square": square(5), "scallop": lambda a, v: 1 + .035 * abs(math.cos(6 * a))}.get(
        o.get("section"))
    seg = 8 if o.get("section") == "oct" else 120
    lathe(fillet(prof, .03), mat, section=section, seg=seg, by="r", flat=seg == 8,
          stretch=o.get("stretch", (1, 1)), rot=(0, 0, 22.5 if seg == 8 else 0))


POTS = {
    "round": [(.30, 0), (.48, .14), (.58, .42), (.48, .72), (.24, .84)],
    "tall": [(.40, 0), (.42, .04), (.36, .6), (.28, 1.0), (.26, 1.04)],
    "flat": [(.40, 0), (.62, .1), (.72, .28), (.6, .46), (.26, .54)],
    "pear": [(.34, 0), (.56, .2), (.56, .4), (.34, .75), (.24, .96)],
    "straight": [(.42, 0), (.46, .04), (.46, .68), (.42, .73), (.24, .75)],
}


def teapot(o):
    mat = main_mat(o)
    trim = make(*o["trim"]) if "trim" in o else mat
    pts = POTS[o["body"]]
    prof = fillet(pts, .07) if o["body"] == "straight" else spline(pts, 8)
    section = {"square": square(5), "ribbed": flutes(22, .03)}.get(o.get("section"))
    seg = 10 if o.get("section") == "facet" else 120 if section else 72
    vessel(prof, mat, .03, .05, section=section, seg=seg, flat=seg == 10)
    r, h = prof[-1]
    lid = make(*o["lid"]) if "lid" in o else mat
    lathe(spline([(r + .02, h), (r, h + .05), (r * .5, h + .1), (0, h + .12)], 5), lid)
    ball(.065, trim, (0, 0, h + .17), (1, 1, .9))
    # The spout starts inside the body and leaves it on the -x side.
    z0 = h * o.get("spout", .35)
    rb = max(p[0] for p in prof)
    path = spline([(-rb * .75, 0, z0), (-rb - .14, 0, z0 + .08), (-rb - .26, 0, z0 + h * .34),
                   (-rb - .40, 0, h * .95)], 7)
    n = len(path)
    tube(path, [.14 - .085 * i / (n - 1) for i in range(n)], mat, seg=20)
    if o.get("handle", "side") == "side":
        p = [(rb * .8, 0, h * .82), (rb + .2, 0, h * .9), (rb + .36, 0, h * .55),
             (rb + .2, 0, h * .2), (rb * .86, 0, h * .22)]
        tube(spline(p, 7), .055, trim, squash=.8)
    else:  # a bail over the top
        p = [(rb * .62, 0, h * .78), (rb * .8, 0, h * 1.2), (0, 0, h * 1.2 + .42),
             (-rb * .8, 0, h * 1.2), (-rb * .62, 0, h * .78)]
        tube(spline(p, 8), .035, trim)
        if o.get("handle") == "cane":
            tube(spline(p, 8)[10:23], .055, make("straw", "c79f68"))


BOTTLES = {
    "wine": [(.24, 0), (.26, .03), (.26, .85), (.22, 1.0), (.095, 1.2), (.085, 1.5), (.1, 1.52)],
    "flask": [(.24, 0), (.26, .04), (.26, 1.0), (.2, 1.14), (.16, 1.18)],
    "swing": [(.26, 0), (.28, .04), (.28, .75), (.12, 1.05), (.1, 1.28), (.11, 1.3)],
    "carafe": [(.36, 0), (.44, .12), (.34, .5), (.14, .8), (.16, 1.05), (.24, 1.2)],
    "apothecary": [(.34, 0), (.36, .04), (.36, .52), (.30, .64), (.12, .7), (.12, .82)],
    "soap": [(.30, 0), (.32, .04), (.32, .72), (.26, .8), (.12, .82), (.12, .88)],
    "sport": [(.25, 0), (.27, .05), (.24, .5), (.27, .8), (.25, 1.0), (.18, 1.06)],
    "decanter": [(.40, 0), (.44, .04), (.44, .45), (.36, .6), (.13, .72), (.12, .95), (.17, 1.0)],
}


def bottle(o):
    mat = main_mat(o)
    pts = BOTTLES[o["body"]]
    sharp = o["body"] in ("flask", "apothecary", "soap", "wine", "decanter", "swing")
    prof = fillet(pts, .12) if sharp else spline(pts, 8)
    section = {"square": square(7), "ribbed": flutes(18, .025)}.get(o.get("section"))
    sec = None
    if section:  # the section applies to the body only: the neck stays round
        neck = next(i for i, p in enumerate(pts) if p[0] < .2)
        edge = pts[neck][1] / pts[-1][1]
        sec = lambda a, v: 1 + (section(a, v) - 1) * max(0.0, min(1.0, (edge - v) * 8))  # noqa
    glass = o["k"] == "glass"
    vessel(prof, mat, .03, .05, section=sec, seg=96)
    r, h = prof[-1]
    if "fill" in o:
        body = [(max(p[0] - .034, .02), p[1]) for p in prof if .06 < p[1] < h * o.get("level", .6)]
        lathe([(0, body[0][1])] + body + [(0, body[-1][1])],
              make("glass", o["fill"], rough=.0) if glass else make("plastic", o["fill"]),
              section=sec)
    cap = o.get("cap")
    if cap == "cork":
        lathe(fillet([(0, h - .05), (r * .8, h - .05), (r * 1.0, h + .12), (0, h + .12)], .02),
              make("clay", "c99e6b"))
    elif cap == "screw":
        m = make(*o.get("capmat", ("plastic", "1b1b1d")))
        lathe(fillet([(0, h - .03), (r + .03, h - .03), (r + .03, h + .16), (0, h + .16)], .03), m,
              section=flutes(30, .015))
        if o.get("loop"):
            tube([(.12 * math.cos(math.radians(a)), 0, h + .14 + .13 * math.sin(math.radians(a)))
                  for a in range(0, 181, 15)], .03, m)
    elif cap == "swing":
        ball(r * 1.15, make("ceramic", o.get("capc", "f1f0ec")), (0, 0, h + .07), (1, 1, .8))
        wire = make("metal", "b9bcc0")
        for s in (-1, 1):
            tube(spline([(s * r, 0, h + .08), (s * (r + .07), 0, h - .05),
                         (s * (r + .02), 0, h - .22)], 5), .014, wire)
        ring(r + .02, .014, wire, loc=(0, 0, h - .22))
        ring(r * 1.15, .02, make("plastic", "c5482f"), loc=(0, 0, h + .01))
    elif cap == "pump":
        m = make(*o.get("capmat", ("metal", "silver")))
        disc(.14, h - .03, h + .1, m)
        rod((0, 0, h), (0, 0, h + .3), .03, m)
        tube(spline([(.06, 0, h + .3), (-.1, 0, h + .32), (-.26, 0, h + .3), (-.3, 0, h + .24)], 5),
             .035, m)
    elif cap == "ball":
        ball(.17, mat, (0, 0, h + .14))
        rod((0, 0, h - .1), (0, 0, h + .02), r * .6, mat)
    elif cap == "dropper":
        m = make("plastic", "1b1b1d")
        disc(r + .04, h - .04, h + .12, m)
        lathe(spline([(.07, h + .1), (.08, h + .25), (.06, h + .4), (0, h + .43)], 5), m)
    if "label" in o:
        z0, z1 = o.get("labelz", (.25, .6))
        rr = max(p[0] for p in prof) + .006
        if section:
            box((rr * 1.3, .012, (z1 - z0)), make("plastic", o["label"], "2c2c2c", "bands", n=5,
                                                  duty=.25, rough=.8),
                (0, -rr * 1.0, (z0 + z1) / 2), bevel=.003)
        else:
            lathe([(rr, z0), (rr, z1)], make("plastic", o["label"], o.get("label2", "2c2c2c"),
                                            "ringband", n=.62, duty=.2, rough=.8))


MODELS = {"mug": mug, "vase": vase, "bowl": bowl, "plate": plate, "teapot": teapot,
          "bottle": bottle}
