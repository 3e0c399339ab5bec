import SwiftUI

@main
struct SampleApp: App {
    @State private var model = SearchModel()

    var body: some Scene {
        WindowGroup {
            TabView {
                SearchView(model: model)
                    .tabItem { Label("Search", systemImage: "camera.viewfinder") }
                BenchmarkView(model: model)
                    .tabItem { Label("Benchmark", systemImage: "stopwatch") }
            }
            .task { await model.open() }
        }
    }
}
