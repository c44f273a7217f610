//! The values of secrets stand nowhere but where the agent finds them.

use std::fs;

use wakeful_runner::process::Launch;

use super::setup::*;

const VALUE: &str = "s3cret-\"token\"-0123456789";

fn with_secret(script: &str) -> Launch {
    let mut launch = Launch { secrets: vec![VALUE.into(), "line one of it\nline two of it\n".into()], ..sh(script) };
    launch.env.push(("TOKEN".into(), VALUE.into()));
    launch
}

#[tokio::test]
async fn a_secret_is_in_no_file_however_it_is_written() {
    let check = async |script: &str, out: &str| {
        let launch = with_secret(script);
        run(&launch).await;
        assert_eq!(String::from_utf8(stdout_of(&launch)).unwrap(), out, "{script}");
        for entry in fs::read_dir(&launch.dir).unwrap() {
            let text = fs::read(entry.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&text);
            for part in ["s3cret", "0123456789", "line one of it", "line two of it"] {
                assert!(!text.contains(part), "{part} in {text}");
            }
        }
    };
    check("echo my $TOKEN; echo $TOKEN >&2", "my ***\n").await;
    // As JSON writes it.
    check(r#"printf '{"a":"s3cret-\\"token\\"-0123456789"}\n'"#, "{\"a\":\"***\"}\n").await;
    // Byte by byte, over more than one read.
    check(
        "for c in s 3 c r e t - '\"' t o k e n '\"' - 0 1 2 3 4 5 6 7 8 9; do printf %s $c; sleep 0.01; done; echo",
        "***\n",
    )
    .await;
    check("echo line one of it; echo and line two of it", "***\nand ***\n").await;
    // Across two records: the line is longer than one.
    check("head -c 65270 /dev/zero | tr '\\0' x | tr x ' '; echo $TOKEN", &(" ".repeat(65_270) + "***\n")).await;
    // A stream that ends in the middle of one.
    check("printf 'the end: s3cret-'", "the end: ***").await;
}

#[tokio::test]
async fn half_a_secret_is_not_released_while_the_other_half_takes_its_time() {
    let launch = with_secret(
        "printf 'a prompt, then s3cret-\"tok'; while [ ! -e go ]; do sleep 0.01; done; echo 'en\"-0123456789!'",
    );
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "a prompt, then ").await;
    assert_eq!(stdout_of(&launch), b"a prompt, then ");
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;
    assert_eq!(stdout_of(&launch), b"a prompt, then ***!\n");
}
