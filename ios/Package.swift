// swift-tools-version: 6.0
import PackageDescription

#if os(Linux)
// Tests and tools: the library that `cargo xtask bindings` built for this machine.
let folder = Context.environment["MAGPIE_LIBRARY"] ?? Context.packageDirectory + "/../target/debug"
let library = Target.systemLibrary(name: "MagpieFFI")
let linking: [LinkerSetting] = [
    .linkedLibrary("magpie_ffi"),
    .unsafeFlags(["-L", folder, "-Xlinker", "-rpath", "-Xlinker", folder]),
]
#else
// `cargo xtask xcframework` makes it, and rewrites this line where it is published.
let library = Target.binaryTarget(name: "MagpieFFI", path: "MagpieFFI.xcframework")
let linking: [LinkerSetting] = []
#endif

let package = Package(
    name: "Magpie",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Magpie", targets: ["Magpie"])],
    targets: [
        library,
        // Generated, and seen by nothing but `Magpie`. Swift 6.0's compiler crashes over it in its own language mode.
        .target(
            name: "MagpieGenerated",
            dependencies: ["MagpieFFI"],
            swiftSettings: [.swiftLanguageMode(.v5)],
            linkerSettings: linking
        ),
        .target(name: "Magpie", dependencies: ["MagpieGenerated"], resources: [.copy("PrivacyInfo.xcprivacy")]),
        .testTarget(name: "MagpieTests", dependencies: ["Magpie"]),
    ],
    swiftLanguageModes: [.v6]
)
