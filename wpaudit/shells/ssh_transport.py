"""paramiko's transport, without its forgetfulness."""

from __future__ import annotations

from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST


class Transport(paramiko.Transport):
    """paramiko's transport that also keeps what it drops: which signal ended a command, why a channel was refused."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.exit_signals: dict[int, str] = {}
        self.refusal = ''
        inherited: Any = paramiko.Transport
        self._channel_handler_table = {
            **inherited._channel_handler_table, MSG_CHANNEL_REQUEST: self._channel_request,
        }

    def _channel_request(self, channel: Any, message: paramiko.Message) -> None:
        _after_channel(message)
        if message.get_text() == 'exit-signal':
            message.get_boolean()
            self.exit_signals[channel.get_id()] = message.get_text()
        _after_channel(message)
        channel._handle_request(message)

    def _parse_channel_open_failure(self, message: paramiko.Message) -> None:
        _after_channel(message)
        message.get_int()
        self.refusal = message.get_text()[:200]
        message.rewind()
        inherited: Any = super()
        inherited._parse_channel_open_failure(message)


def _after_channel(message: paramiko.Message) -> None:
    message.rewind()
    message.get_int()
