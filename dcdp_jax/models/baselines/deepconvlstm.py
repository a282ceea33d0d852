"""DeepConvLSTM (Ordonez and Roggen 2016, "Deep Convolutional and LSTM Recurrent Neural Networks", Sensors 16:115)."""

import flax.linen as nn
import jax

from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import LSTM
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.dropout import dropout, keys_of_layer

LAYERS, TAPS = 4, 5


class DeepConvLSTM(Baseline):
    """Four convolutions 64 k5 without padding, ReLU after each, two LSTM layers of 128, the last step, linear.

    As in the source, a convolution runs over time alone, with one kernel for all sensor channels: the LSTM sees 64
    features of every channel. Dropout acts on the input of every dense layer, including those inside the LSTM.
    """

    dropout: float = 0.5  # rate

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features), with t of 17 or more.

        Raises:
          ConfigError: a window shorter than the convolutions.
        """
        b, t, c = x.shape
        shortest = LAYERS * (TAPS - 1) + 1
        if t < shortest:
            raise ConfigError(f"data.window={t} is shorter than DeepConvLSTM's convolutions, which need {shortest}")
        h = x.transpose(0, 2, 1).reshape(b * c, t, 1)
        for _ in range(LAYERS):
            padded = Conv1D(self.width, TAPS, bias=True)(h)
            h = nn.relu(padded[:, TAPS // 2 : -(TAPS // 2)])
        h = h.reshape(b, c, -1, self.width).transpose(0, 2, 1, 3).reshape(b, -1, c * self.width)
        for layer in range(2):
            h = LSTM(2 * self.width)(dropout(h, keys_of_layer(keys, layer), self.dropout))
        return dropout(h[:, -1], keys_of_layer(keys, 2), self.dropout)
