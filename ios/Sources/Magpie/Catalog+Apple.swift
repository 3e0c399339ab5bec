// What updates need of Apple's systems. Not compiled on Linux.

#if canImport(Darwin)
import Foundation

extension Catalog {
    /// Excludes a folder from backups, and protects what will be written into it.
    static func protect(_ folder: URL) throws {
        let set = try folder.resourceValues(forKeys: [.isExcludedFromBackupKey])
        if set.isExcludedFromBackup != true {
            var (folder, values) = (folder, URLResourceValues())
            values.isExcludedFromBackup = true
            try folder.setResourceValues(values)
        }
        #if os(iOS)
        // New files have the class of their folder. A stricter class would take the mapped pages of an engine away when
        // the device is locked.
        let attributes = [FileAttributeKey.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication]
        try FileManager.default.setAttributes(attributes, ofItemAtPath: folder.path)
        #endif
    }

    /// Free space in bytes, with what the system would make free for a download that the user waits for.
    static func freeBytes(at folder: URL) -> Int? {
        let values = try? folder.resourceValues(forKeys: [.volumeAvailableCapacityForImportantUsageKey])
        return values?.volumeAvailableCapacityForImportantUsage.map { Int(clamping: $0) }
    }
}
#endif

#if os(iOS) && canImport(BackgroundTasks)
import BackgroundTasks

extension Catalog {
    /// Updates in a task of `BGTaskScheduler`, and ends the task. When the system takes the time away, what was received
    /// is kept.
    ///
    /// ```swift
    /// BGTaskScheduler.shared.register(forTaskWithIdentifier: "com.example.shop.catalog", using: nil) { task in
    ///     schedule()  // the next one
    ///     catalog.update(in: task, from: server, trust: trust, options: options)
    /// }
    /// ```
    public func update(
        in task: BGTask, from server: ReleaseServer, trust: Trust, options: UpdateOptions = UpdateOptions(),
        report: @escaping @Sendable (MagpieError) -> Void = { _ in }
    ) {
        let running = Running(task: task)
        let updating = Task {
            let ended = await updateInBackground(from: server, trust: trust, options: options, report: report)
            running.task.setTaskCompleted(success: ended == .done)
        }
        task.expirationHandler = { updating.cancel() }
    }
}

/// A task may be ended on any thread.
private struct Running: @unchecked Sendable {
    let task: BGTask
}
#endif
