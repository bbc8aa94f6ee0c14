from mycelos.proxy.vault.errors import VaultError


def test_an_error_says_what_is_wrong_and_what_to_do() -> None:
    error = VaultError(detail="It is locked.", next_step="Unlock it.")
    assert (error.detail, error.next_step, str(error)) == ("It is locked.", "Unlock it.", "It is locked. Unlock it.")
