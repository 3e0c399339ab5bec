// swift-tools-version: 6.0
import PackageDescription

#if os(Linux)
// For tests and tools: the library that `cargo xtask bindings` built for this machine.
let folder = Context.environment["MAGPIE_LIBRARY"] ?? Context.packageDirectory + "/../target/debug"
let library = Target.systemLibrary(name: "MagpieFFI")
let linking: [LinkerSetting] = [
    .linkedLibrary("magpie_ffi"),
    .unsafeFlags(["-L", folder, "-Xlinker", "-rpath", "-Xlinker", folder]),
]
#else
// Built by `cargo xtask xcframework`, which rewrites this line in the package to publish.
let library = Target.binaryTarget(name: "MagpieFFI", path: "MagpieFFI.xcframework")
let linking: [LinkerSetting] = []
#endif

let package = Package(
    name: "Magpie",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Magpie", targets: ["Magpie"])],
    targets: [
        library,
        // Generated, and used only by `Magpie`. In language mode 6, Swift 6.0's compiler crashes on it.
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
