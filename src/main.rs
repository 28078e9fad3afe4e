fn main() -> std::process::ExitCode {
    flow_shim::cli::run()
}
