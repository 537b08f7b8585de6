"""Reading the settings: who wins, and what is said when they are wrong."""

import re
from pathlib import Path

import pytest

from chat.config import Config
from chat.config_sources import OTHER_ENV, ConfigError, load_config


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A settings file."""
    path = tmp_path / "parley.toml"
    path.write_text('port = 1111\nhost = "10.0.0.1"\nnode = "file"\nallowed_origins = ["https://a.org"]\n')
    return path


def mistakes(environ: dict[str, str], file: Path | None = None, **overrides: object) -> list[str]:
    """The lines that somebody with these settings sees."""
    with pytest.raises(ConfigError) as refused:
        load_config(environ=environ, config_file=file, overrides=overrides)
    return str(refused.value).splitlines()


def test_the_command_line_wins_over_environment_over_file_over_defaults(toml: Path) -> None:
    """Each source overrides those before it, and every setting knows where it came from."""
    loaded = load_config(
        environ={"PARLEY_HOST": "10.0.0.2", "PARLEY_PORT": "2222"}, config_file=toml, overrides={"port": 3333}
    )

    config = loaded.config
    assert (config.port, config.host, config.node, config.ops_port) == (3333, "10.0.0.2", "file", "auto")
    assert loaded.origins == {
        "port": "--port",
        "host": "PARLEY_HOST",
        "node": str(toml),
        "allowed_origins": str(toml),
    }


def test_every_variable_that_is_promised_works(tmp_path: Path, toml: Path) -> None:
    """PARLEY_HOST, _PORT, _DATA_DIR, _DATABASE_URL, _CONFIG and _RATE_LIMITS=off do what they say."""
    config = load_config(
        environ={
            "PARLEY_HOST": "::1",
            "PARLEY_PORT": "0",
            "PARLEY_DATA_DIR": str(tmp_path),
            "PARLEY_DATABASE_URL": "postgres://u:p@h/d",
            "PARLEY_CONFIG": str(toml),
            "PARLEY_RATE_LIMITS": "off",
        }
    ).config

    assert (config.host, config.port, config.data_dir) == ("::1", 0, tmp_path)
    assert (config.database_dsn, config.node, config.rate_limits) == ("postgres://u:p@h/d", "file", False)


def test_every_setting_has_a_variable() -> None:
    """What can be written into the file can be put into the environment."""
    environ = {
        f"PARLEY_{key.upper()}": str(value)
        for key, value in Config().model_dump().items()
        if isinstance(value, int | float | str)
    }

    assert load_config(environ=environ).config == Config()


def test_a_list_in_the_environment_has_commas() -> None:
    """Origins are written one after the other."""
    config = load_config(environ={"PARLEY_ALLOWED_ORIGINS": " https://a.org, https://b.org:8443 ,"}).config

    assert config.allowed_origins == ("https://a.org", "https://b.org:8443")


def test_an_empty_variable_was_not_set() -> None:
    """Makefiles and unit files pass variables on that nobody gave a value."""
    assert load_config(environ={"PARLEY_PORT": "", "PARLEY_CONFIG": ""}).config == Config()


def test_other_variables_are_left_alone() -> None:
    """Neither foreign variables nor those of the client are settings."""
    environ = {"PATH": "/bin", "PARLEYX": "1", "PARLEY_TOKEN": "x", "PARLEY_URL": "ws://x"}

    assert load_config(environ=environ).config == Config()


def test_every_variable_that_people_are_told_of_is_known() -> None:
    """What the documents and the commands name is no mistake in anybody's environment."""
    root = Path(__file__).parents[2]
    places = (
        *root.glob("docs/**/*.md"),
        root / "README.md",
        *root.glob("chat/*.py"),
        *root.glob("scripts/**/*.py"),
    )
    named = {name for place in places for name in re.findall(r"PARLEY_[A-Z_]*[A-Z]", place.read_text())}

    assert {"PARLEY_PORT", "PARLEY_TOKEN_FILE"} <= named
    assert named <= {f"PARLEY_{key.upper()}" for key in Config.model_fields} | OTHER_ENV


def test_every_mistake_is_told_at_once_with_its_place_and_what_is_allowed(toml: Path) -> None:
    """One line for each: setting, origin, value, what may stand there."""
    toml.write_text('prot = 1\npage_max = 5000\nhost = ["x"]\n')
    lines = mistakes(
        {
            "PARLEY_PORT": "80000",
            "PARLEY_OPS_PORT": "none",
            "PARLEY_HEARTBEAT": "1",
            "PARLEY_RATE_LIMITS": "of",
            "PARLEY_LOG_LEVEL": "loud",
            "PARLEY_SEND_PER_S": "0",
            "PARLEY_PRESENCE_GRACE_S": "long",
        },
        toml,
        data_dir=7,
    )

    assert sorted(lines) == sorted(
        [
            "PARLEY_HEARTBEAT (environment): there is no such setting; did you mean PARLEY_HEARTBEAT_S?",
            f"prot ({toml}): there is no such setting; did you mean port?",
            f"page_max ({toml}): 5000 is not allowed; allowed: a whole number from 1 to 1000",
            f"host ({toml}): ['x'] is not allowed; Input should be a valid string",
            "port (PARLEY_PORT): '80000' is not allowed; allowed: a whole number from 0 to 65535",
            (
                "ops_port (PARLEY_OPS_PORT): 'none' is not allowed; "
                "allowed: a whole number from 0 to 65535 or auto or off"
            ),
            "rate_limits (PARLEY_RATE_LIMITS): 'of' is not allowed; allowed: on or off",
            "log_level (PARLEY_LOG_LEVEL): 'loud' is not allowed; allowed: debug or info or warning or error",
            "send_per_s (PARLEY_SEND_PER_S): '0' is not allowed; allowed: a number above 0 up to 1000000",
            (
                "presence_grace_s (PARLEY_PRESENCE_GRACE_S): 'long' is not allowed; "
                "allowed: a number from 0 to 600"
            ),
            "data_dir (--data-dir): 7 is not allowed; Input is not a valid path for <class 'pathlib.Path'>",
        ]
    )


def test_contradictions_name_both_settings_and_both_places() -> None:
    """Two settings that do not go together are one mistake with two places."""
    assert mistakes({"PARLEY_PONG_TIMEOUT_S": "30"}, db_pool_size=41) == [
        (
            "pong_timeout_s, heartbeat_s (PARLEY_PONG_TIMEOUT_S, default): "
            "pong_timeout_s must be below heartbeat_s, or pings overlap"
        ),
        (
            "db_pool_size, database_url (--db-pool-size, default): "
            "db_pool_size must be at most 40 with the embedded database"
        ),
    ]


def test_contradictions_are_told_beside_other_mistakes() -> None:
    """A bad port hides no contradiction elsewhere; what only a stand-in for one contradicts is none."""
    assert mistakes({"PARLEY_PORT": "80000", "PARLEY_HEARTBEAT_S": "5", "PARLEY_DB_POOL_SIZE": "41"}) == [
        "port (PARLEY_PORT): '80000' is not allowed; allowed: a whole number from 0 to 65535",
        (
            "pong_timeout_s, heartbeat_s (default, PARLEY_HEARTBEAT_S): "
            "pong_timeout_s must be below heartbeat_s, or pings overlap"
        ),
        (
            "db_pool_size, database_url (PARLEY_DB_POOL_SIZE, default): "
            "db_pool_size must be at most 40 with the embedded database"
        ),
    ]
    assert mistakes({"PARLEY_PONG_TIMEOUT_S": "30", "PARLEY_HEARTBEAT_S": "long"}) == [
        "heartbeat_s (PARLEY_HEARTBEAT_S): 'long' is not allowed; allowed: a number above 0 up to 86400"
    ]


def test_no_message_and_no_list_shows_a_password() -> None:
    """A bad database URL is named and not shown; a good one is masked where settings are listed."""
    lines = mistakes({"PARLEY_DATABASE_URL": "mysql://u:hunter2@h/d"})
    loaded = load_config(environ={"PARLEY_DATABASE_URL": "postgresql://u:hunter2@h/d"})

    assert lines == [
        "database_url (PARLEY_DATABASE_URL): ******** is not allowed; a database URL begins with postgresql://"
    ]
    assert "hunter2" not in " ".join(str(setting) for setting in loaded.settings())


def test_a_file_that_cannot_be_used_is_one_mistake(tmp_path: Path) -> None:
    """Missing, a directory, not TOML, not text: said in a line."""
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("port = \n")
    binary.write_bytes(b"\xff\xfe")

    assert mistakes({"PARLEY_CONFIG": str(tmp_path / "none.toml")}) == [
        f"config ({tmp_path / 'none.toml'}): there is no such file"
    ]
    assert mistakes({}, tmp_path) == [f"config ({tmp_path}): there is no such file"]
    assert mistakes({}, broken)[0].startswith(f"config ({broken}): it is not TOML: ")
    assert mistakes({}, binary)[0].startswith(f"config ({binary}): it is not TOML: ")


def test_settings_are_listed_with_their_places(toml: Path) -> None:
    """`config check` shows every setting once, in order, as people would write it."""
    settings = list(load_config(environ={"PARLEY_RATE_LIMITS": "off"}, config_file=toml).settings())
    shown = {setting.key: (setting.value, setting.origin) for setting in settings}

    assert list(shown) == list(Config.model_fields)
    assert shown["rate_limits"] == ("off", "PARLEY_RATE_LIMITS")
    assert shown["allowed_origins"] == ("https://a.org", str(toml))
    assert shown["database_url"] == ("-", "default")
    assert shown["data_dir"] == ("data", "default")


SECRET = "0123456789abcdef0123456789abcdef"
ISSUER = f"""
[[issuers]]
issuer = "https://id.test"
audience = "parley"
algorithms = ["HS256"]
secret = "{SECRET}"
"""


def test_issuers_are_tables_in_the_file_and_json_in_the_environment(toml: Path) -> None:
    """Either way they are the same, and the secret is not among what is printed."""
    toml.write_text(ISSUER)
    by_file = load_config(environ={}, config_file=toml)
    by_variable = load_config(
        environ={
            "PARLEY_ISSUERS": '[{"issuer": "https://id.test", "audience": "parley", "algorithms": "HS256",'
            f' "secret": "{SECRET}"}}]'
        }
    )

    assert by_file.config == by_variable.config
    (issuer,) = by_file.config.issuers
    assert issuer.secret is not None
    assert issuer.secret.get_secret_value() == SECRET
    shown = {setting.key: setting.value for setting in by_file.settings()}
    assert shown["issuers"] == "https://id.test (HS256)"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            f'[[issuers]]\nissuer = "a"\nalgorithms = ["none"]\nsecret = "{SECRET}"\nleeway_s = -1\n',
            [
                "issuers[0].audience ({file}): Field required",
                "issuers[0].algorithms[0] ({file}): Input should be 'HS256', 'RS256' or 'EdDSA'",
                "issuers[0].leeway_s ({file}): Input should be greater than or equal to 0",
            ],
        ),
        (ISSUER.replace(SECRET, "hunter2"), ["issuers[0] ({file}): the secret has 32 bytes at least"]),
        (
            f'{ISSUER}secrets = "hunter2"\n',
            ["issuers[0].secrets ({file}): Extra inputs are not permitted"],
        ),
        (
            f"port = 99999\n{ISSUER}{ISSUER}",
            [
                "port ({file}): 99999 is not allowed; allowed: a whole number from 0 to 65535",
                "issuers ({file}): each issuer is named once: give it all of its algorithms there",
            ],
        ),
        ('issuers = "hunter2"\n', ["issuers ({file}): Input should be a valid tuple"]),
    ],
)
def test_a_mistake_in_an_issuer_is_told_by_its_place_and_without_its_secrets(
    toml: Path, text: str, lines: list[str]
) -> None:
    """Each in a line of its own."""
    toml.write_text(text)
    told = mistakes({}, toml)

    assert told == [line.format(file=toml) for line in lines]
    assert not any(secret in line for line in told for secret in (SECRET, "hunter2"))


def test_issuers_in_the_environment_that_are_no_json_are_told_with_all_the_rest() -> None:
    """And what they hold is not."""
    assert mistakes({"PARLEY_ISSUERS": "hunter2{", "PARLEY_PORT": "x"}) == [
        "issuers (PARLEY_ISSUERS): it is not JSON",
        "port (PARLEY_PORT): 'x' is not allowed; allowed: a whole number from 0 to 65535",
    ]
