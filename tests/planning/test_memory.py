from types import SimpleNamespace

from mixcon3d_jax.planning.memory import step_memory
from tests.planning.programs import program


def test_arguments_are_grouped_by_their_path_and_padded():
    made = program(r"""
        %a = f32[100,8]{1,0:T(8,128)} parameter(0), metadata={op_name="state.params[\'x\'][\'y\']"}
        %b = f32[100,8]{0,1:T(8,128)} parameter(1), metadata={op_name="state.ema_params[\'x\']"}
        %c = f32[2,128]{1,0} parameter(2), metadata={op_name="state.opt_state[0].mu[\'x\']"}
        %d = f32[2,128]{1,0} parameter(3), metadata={op_name="state.opt_state[0].nu[\'x\']"}
        %e = f32[128]{0} parameter(4), metadata={op_name="state.ema_stats[\'mean\']"}
        %f = u8[4,128]{1,0} parameter(5), metadata={op_name="batch[\'colors\']"}
        %g = s32[] parameter(6), metadata={op_name="state.step"}
        %r = f32[] copy(%g)
    """)
    analysis = SimpleNamespace(
        argument_size_in_bytes=104 * 128 * 4 + 8 * 128 * 4 + 2 * 1024 + 512 + 512 + 512,
        output_size_in_bytes=1000,
        alias_size_in_bytes=900,
        temp_size_in_bytes=7,
        generated_code_size_in_bytes=5,
    )
    memory = step_memory(made, analysis)
    assert memory.parameters == 104 * 128 * 4
    assert memory.average == 8 * 128 * 4
    assert (memory.moments, memory.statistics) == (2 * 1024, 512)
    assert memory.batch == memory.next_batch == 512
    # The step's number in a block of 512 bytes, and results without a place of their own.
    assert memory.other == 512 + 100
    assert memory.peak == analysis.argument_size_in_bytes + 100 + 512 + 7 + 5
