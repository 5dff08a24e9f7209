# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Settings;

# What can stand in storage.cfg for a Gemel storage.

use strict;
use warnings;

sub plugindata {
    return {
        content => [{ images => 1, rootdir => 1, none => 1 }, { images => 1, rootdir => 1 }],
        format => [{ raw => 1 }, 'raw'],
        'sensitive-properties' => { password => 1 },
    };
}

sub properties {
    return {
        'gemel-api' => {
            description => 'Addresses of the API of the Gemel nodes, HOST:PORT, separated by commas.',
            type => 'string',
            pattern => '[A-Za-z0-9.:\[\]-]+(?:,[A-Za-z0-9.:\[\]-]+)*',
            maxLength => 1024,
        },
        'gemel-pool' => {
            description => 'The pool disks are made in; the default pool of the nodes when absent.',
            type => 'string',
            pattern => '[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?',
        },
        'gemel-transport' => {
            description => 'How guests reach their disks: the initiator of the kernel (iscsi), QEMU itself (libiscsi), or the'
                . ' unix socket of a Gemel node that runs on this host (nbd).',
            type => 'string',
            enum => ['iscsi', 'libiscsi', 'nbd'],
            default => 'iscsi',
        },
        'gemel-multipath' => {
            description => 'Use dm-multipath over all portals (transport iscsi).',
            type => 'boolean',
            default => 1,
        },
        'gemel-chap' => {
            description => 'Give every host a CHAP secret of its own (transport iscsi).',
            type => 'boolean',
            default => 0,
        },
        'gemel-replicas' => {
            description => 'Nodes that keep a copy of each disk; two in a cluster when absent.',
            type => 'integer',
            minimum => 1,
            maximum => 3,
        },
        'gemel-prefix' => {
            description => 'What the names of all volumes of this storage begin with; the name of the storage when absent.',
            type => 'string',
            pattern => '[a-z0-9][a-z0-9-]{0,19}',
        },
        'gemel-socket' => {
            description => 'The NBD socket of the Gemel node on this host (transport nbd).',
            type => 'string',
            format => 'pve-storage-path',
            default => '/var/lib/gemel/nbd.sock',
        },
    };
}

sub options {
    return {
        'gemel-api' => {},
        'gemel-pool' => { optional => 1 },
        'gemel-transport' => { optional => 1 },
        'gemel-multipath' => { optional => 1 },
        'gemel-chap' => { optional => 1 },
        'gemel-replicas' => { optional => 1 },
        'gemel-prefix' => { fixed => 1, optional => 1 },
        'gemel-socket' => { optional => 1 },
        password => { optional => 1 },
        nodes => { optional => 1 },
        shared => { optional => 1 },
        disable => { optional => 1 },
        content => { optional => 1 },
        bwlimit => { optional => 1 },
    };
}

1;
