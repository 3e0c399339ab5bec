import Magpie
import SwiftUI

/// The camera's preview with a crop box, chips, and the results.
struct SearchView: View {
    @Bindable var model: SearchModel

    var body: some View {
        VStack(spacing: 8) {
            CameraPreview(camera: model.session)
                .overlay { CropBox(box: $model.box) }
                .aspectRatio(3 / 4, contentMode: .fit)
                .accessibilityElement(children: .contain)
                .accessibilityLabel("Camera")
            Text(model.hint)
                .accessibilityAddTraits(.updatesFrequently)
            chips
            List(model.listings) { listing in
                ListingRow(listing: listing, engine: model.engine)
            }
            .listStyle(.plain)
        }
    }

    private var chips: some View {
        ScrollView(.horizontal, showsIndicators: false) {
            HStack {
                ForEach(model.categories, id: \.self) { category in
                    let isChosen = model.category == category
                    Button(category) { model.category = isChosen ? nil : category }
                        .buttonStyle(.bordered)
                        .tint(isChosen ? .accentColor : .secondary)
                        .accessibilityAddTraits(isChosen ? .isSelected : [])
                        .accessibilityHint("Shows only \(category)")
                }
            }
            .padding(.horizontal)
        }
    }
}

/// A listing with its picture.
private struct ListingRow: View {
    let listing: Listing
    let engine: Engine?
    @State private var picture: UIImage?

    var body: some View {
        HStack {
            Group {
                if let picture { Image(uiImage: picture).resizable() } else { Color.secondary.opacity(0.2) }
            }
            .frame(width: 64, height: 64)
            .clipShape(.rect(cornerRadius: 8))
            .accessibilityHidden(true)
            VStack(alignment: .leading) {
                Text(listing["title"] ?? listing.id)
                Text([listing["price"], listing["currency"]].compactMap(\.self).joined(separator: " "))
                    .foregroundStyle(.secondary)
            }
        }
        .accessibilityElement(children: .combine)
        .task(id: listing.photo) {
            let jpeg = try? await engine?.thumbnail(of: listing)
            picture = jpeg.flatMap(UIImage.init(data:))
        }
    }
}

/// The part of the picture to search with. Drag to move it.
private struct CropBox: View {
    @Binding var box: CGRect
    @State private var start: CGPoint?

    var body: some View {
        GeometryReader { space in
            Rectangle()
                .strokeBorder(.white, lineWidth: 3)
                .contentShape(.rect)
                .frame(width: box.width * space.size.width, height: box.height * space.size.height)
                .offset(x: box.minX * space.size.width, y: box.minY * space.size.height)
                .gesture(drag(in: space.size))
                .accessibilityLabel("Crop box")
                .accessibilityHint("Only what is inside is searched for")
                .accessibilityAdjustableAction { direction in
                    resize(by: direction == .increment ? 0.1 : -0.1)
                }
        }
    }

    private func drag(in size: CGSize) -> some Gesture {
        DragGesture()
            .onChanged { drag in
                let from = start ?? box.origin
                start = from
                box.origin.x = min(max(from.x + drag.translation.width / size.width, 0), 1 - box.width)
                box.origin.y = min(max(from.y + drag.translation.height / size.height, 0), 1 - box.height)
            }
            .onEnded { _ in start = nil }
    }

    private func resize(by share: CGFloat) {
        let side = min(max(box.width + share, 0.2), 1)
        box = CGRect(x: (1 - side) / 2, y: (1 - side) / 2, width: side, height: side)
    }
}
