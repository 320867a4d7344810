use std::ffi::OsString;

use clap::Parser as _;

use super::{
    arguments::{Arguments, Verbs, command},
    completion,
    environment::Environment,
    error::CliError,
    exit::Exit,
    print::tell_error,
    schema,
    screen::Screen,
    version,
};

/// Runs one command line and returns the exit code. The environment is read by the caller, once.
pub fn run(arguments: impl IntoIterator<Item = OsString>, variables: Vec<(OsString, OsString)>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that went away is no reason to fail.
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage.code()
            } else {
                Exit::Done.code()
            };
        }
    };
    let environment = Environment::new(variables);
    let screen = Screen::new(&arguments.global, &environment);
    screen.log(arguments.global.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::new(Exit::Failed, "could not start").cause(&error);
            tell_error(&error, &arguments.global, &screen);
            return error.exit.code();
        }
    };
    let global = arguments.global.clone();
    let result = runtime.block_on(dispatch(arguments, &environment, &screen));
    // Watches and programs that are still read from must not hold the end up.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.code(),
        Err(error) => {
            tell_error(&error, &global, &screen);
            error.exit.code()
        }
    }
}

async fn dispatch(
    arguments: Arguments,
    environment: &Environment,
    screen: &Screen,
) -> Result<Exit, CliError> {
    let global = &arguments.global;
    match arguments.verb {
        Verbs::Init(init) => init.run(global, environment, screen),
        Verbs::Validate => super::validate::run(global, environment, screen),
        Verbs::Diff(diff) => diff.run(global, environment, screen).await,
        Verbs::Apply(apply) => apply.run(global, environment, screen).await,
        Verbs::Verify(verify) => verify.run(global, environment, screen).await,
        Verbs::Status(status) => status.run(global, environment, screen).await,
        Verbs::Output(output) => output.run(global, environment, screen).await,
        Verbs::Destroy(destroy) => destroy.run(global, environment, screen).await,
        Verbs::Kubeconfig(kubeconfig) => kubeconfig.run(global, environment, screen).await,
        #[cfg(feature = "aws")]
        Verbs::Reap(reap) => Box::pin(reap.run(global, environment, screen)).await,
        #[cfg(feature = "aws")]
        Verbs::Token(token) => token.run(global, environment, screen).await,
        Verbs::State(state) => state.run(global, environment, screen).await,
        Verbs::Doctor => super::doctor::run(global, environment, screen).await,
        Verbs::Schema => Ok(schema::run(screen)),
        Verbs::Completion(completion) => Ok(completion::run(&completion, &mut command())),
        Verbs::Version => Ok(version::run(global, screen)),
    }
}
