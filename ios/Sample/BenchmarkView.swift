import Magpie
import SwiftUI

/// Shows how long each stage of a search takes on this phone.
struct BenchmarkView: View {
    let model: SearchModel
    @State private var benchmark: Benchmark?
    @State private var problem: String?
    @State private var isRunning = false

    var body: some View {
        NavigationStack {
            List {
                if let benchmark {
                    Section("\(benchmark.runs) searches, \(benchmark.photos) photos, \(benchmark.instructions)") {
                        ForEach(benchmark.stages, id: \.name) { stage in
                            LabeledContent(stage.name, value: "\(text(stage.p50)), p99 \(text(stage.p99))")
                                .accessibilityLabel("\(stage.name): median \(text(stage.p50)), p99 \(text(stage.p99))")
                        }
                        LabeledContent("opening", value: text(benchmark.openTime))
                        if let bytes = benchmark.residentBytes {
                            LabeledContent("memory", value: Int64(bytes).formatted(.byteCount(style: .memory)))
                        }
                    }
                    ShareLink("Share as JSON", item: benchmark.json)
                }
                if let problem { Text(problem) }
            }
            .overlay { if isRunning { ProgressView().accessibilityLabel("Measuring") } }
            .navigationTitle("Benchmark")
            .toolbar {
                Button("Measure") { Task { await measure() } }
                    .disabled(isRunning || model.engine == nil)
                    .accessibilityHint("Searches fifty times and shows how long each stage took")
            }
        }
    }

    private func measure() async {
        guard let engine = model.engine, let photo = await model.samplePhoto() else { return }
        isRunning = true
        defer { isRunning = false }
        do {
            benchmark = try await engine.benchmark(photo: photo)
            problem = nil
        } catch {
            problem = error.localizedDescription
        }
    }

    private func text(_ time: Duration) -> String {
        time.formatted(.units(allowed: [.milliseconds], fractionalPart: .show(length: 2)))
    }
}
