from mycelos.sandbox.errors import Layer, SandboxRefused, explain


def test_a_refusal_names_the_layer_the_cause_and_the_fix() -> None:
    refused = SandboxRefused(Layer.LANDLOCK, "the kernel has none", "Use a newer kernel")
    assert str(refused) == "sandbox layer landlock is missing: the kernel has none. Use a newer kernel"
    assert (refused.layer, refused.cause, refused.fix) == (Layer.LANDLOCK, "the kernel has none", "Use a newer kernel")


def test_an_explanation_leaves_the_path_out() -> None:
    assert (
        explain(FileNotFoundError(2, "No such file or directory", "/data/.master_key")) == "No such file or directory"
    )
    assert explain(OSError("only text")) == "OSError"
