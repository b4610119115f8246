import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import Settings
from st_pipeline.vault.encryption import LARGEST_KEY_ID, Vault, generate_key, key_id_of

TENANT, COLUMN, SECRET = "acme-plumbing", "client_secret", SecretStr("cs1.planted-4711")


def entry(key_id: int = 7) -> str:
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"


def keyring(*entries: str) -> Vault:
    return Vault(SecretStr(",".join(entries)))


VAULT = keyring(entry())


@given(st.text())
def test_what_was_encrypted_can_be_decrypted(text: str):
    value = VAULT.encrypt(TENANT, COLUMN, SecretStr(text))
    assert VAULT.decrypt(TENANT, COLUMN, value).get_secret_value() == text


def test_a_value_shows_its_version_and_key_and_nothing_else():
    value = VAULT.encrypt(TENANT, COLUMN, SECRET)
    assert (value[0], key_id_of(value)) == (1, 7)
    assert len(value) == 1 + 4 + 12 + len(SECRET.get_secret_value()) + 16
    assert b"planted" not in value


def test_the_same_secret_never_looks_the_same_twice():
    """Otherwise equal secrets of two tenants would show, and a nonce would have been used twice."""
    assert len({VAULT.encrypt(TENANT, COLUMN, SECRET) for _ in range(100)}) == 100


@given(st.data())
def test_a_changed_byte_cannot_be_decrypted(data: st.DataObject):
    value = bytearray(VAULT.encrypt(TENANT, COLUMN, SECRET))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ConfigurationError) as refused:
        VAULT.decrypt(TENANT, COLUMN, bytes(value))
    assert "planted" not in str(refused.value)


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32])
def test_a_truncated_value_is_refused_in_one_clear_line(length: int):
    with pytest.raises(ConfigurationError, match=r"client_secret of acme-plumbing .* --replace") as refused:
        VAULT.decrypt(TENANT, COLUMN, VAULT.encrypt(TENANT, COLUMN, SECRET)[:length])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tenant", "column"),
    [("other-company", COLUMN), ("acme-plumbing@integration", COLUMN), (TENANT, "client_id"), (TENANT, "app_key")],
)
def test_a_value_copied_to_another_row_or_column_cannot_be_decrypted(tenant: str, column: str):
    with pytest.raises(ConfigurationError, match="copied from another row"):
        VAULT.decrypt(tenant, column, VAULT.encrypt(TENANT, COLUMN, SECRET))


def test_after_a_rotation_old_values_can_be_decrypted_and_new_ones_use_the_new_key():
    old, new = entry(1), entry(2)
    stored = keyring(old).encrypt(TENANT, COLUMN, SECRET)
    rotated = keyring(new, old)
    assert rotated.decrypt(TENANT, COLUMN, stored) == SECRET
    assert key_id_of(rotated.encrypt(TENANT, COLUMN, SECRET)) == 2


def test_a_key_that_left_the_keyring_is_named_by_its_id():
    stored = keyring(entry(1)).encrypt(TENANT, COLUMN, SECRET)
    with pytest.raises(
        ConfigurationError, match="encrypted with key 1, which ST_PIPELINE_ENCRYPTION_KEYS does not hold"
    ):
        keyring(entry(2)).decrypt(TENANT, COLUMN, stored)


def test_another_key_under_the_same_id_is_noticed():
    stored = keyring(entry(1)).encrypt(TENANT, COLUMN, SECRET)
    with pytest.raises(ConfigurationError, match="the key under that id is another one"):
        keyring(entry(1)).decrypt(TENANT, COLUMN, stored)


KEY = base64.b64encode(bytes(range(32))).decode()
GOOD = f"1:{KEY}"


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "it is empty"),
        (f"{GOOD},", 2, "it is empty"),
        (KEY, 1, "does not begin with a key id"),
        (f"one:{KEY}", 1, "does not begin with a key id"),
        (f"-1:{KEY}", 1, "does not begin with a key id"),
        (f"{LARGEST_KEY_ID + 1}:{KEY}", 1, "does not begin with a key id"),
        (f"{GOOD},2:not base64!", 2, "is not base64"),
        (f"{GOOD},2:{KEY[:20]}", 2, "bytes, not 32"),
        (f"{GOOD},2:{base64.b64encode(bytes(16)).decode()}", 2, "16 bytes, not 32"),
        (f"{GOOD},{GOOD}", 2, "key id 1 appears twice"),
    ],
)
def test_a_malformed_keyring_is_refused_by_entry_and_never_shown(text: str, position: int, reason: str):
    with pytest.raises(ConfigurationError) as refused:
        Vault(SecretStr(text))
    message = str(refused.value)
    assert message.startswith(f"ST_PIPELINE_ENCRYPTION_KEYS, entry {position}: ")
    assert reason in message
    assert "\n" not in message
    assert KEY[:12] not in message


def test_both_alphabets_of_base64_and_blanks_between_entries_are_read():
    key = b"\xfb\xff" * 16
    plain, safe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert plain != safe
    stored = keyring(f"3:{plain}").encrypt(TENANT, COLUMN, SECRET)
    assert keyring(f"{entry(4)} , 3:{safe} ").decrypt(TENANT, COLUMN, stored) == SECRET


def test_a_generated_key_makes_a_keyring():
    keys = {generate_key() for _ in range(50)}
    assert len({key.partition(":")[0] for key in keys}) == 50
    vault = Vault(SecretStr(",".join(keys)))
    assert vault.decrypt(TENANT, COLUMN, vault.encrypt(TENANT, COLUMN, SECRET)) == SECRET


def test_no_keyring_says_where_one_comes_from():
    with pytest.raises(ConfigurationError, match=r"ST_PIPELINE_ENCRYPTION_KEYS is not set. `st-pipeline up` makes one"):
        Vault.from_settings(Settings(encryption_keys=None))


def test_a_vault_shows_key_ids_and_no_key():
    assert repr(keyring(GOOD, entry(9))) == "Vault(key ids 1, 9)"
    assert KEY not in repr(vars(keyring(GOOD)))
