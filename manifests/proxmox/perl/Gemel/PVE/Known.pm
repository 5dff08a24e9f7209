# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Known;

# What reaching a volume takes, kept in files: a guest can be started (after a power failure, say) while no API answers, as long
# as its disk does, and naming the path of a disk does not cost a request each time.

use strict;
use warnings;

use JSON;
use PVE::Tools qw(file_get_contents file_set_contents);

our $RUN = '/run/gemel-pve';
# Seconds for which what the API said of a volume is good enough to name its path.
use constant KNOWN_FOR => 10;

# {iqn, lun, naa, portals, size (bytes)} of a volume. Dies when it is neither known here nor to the API.
sub target {
    my ($client, $storeid, $volume) = @_;

    my $file = _file($storeid, $volume);
    my $kept = -f $file ? eval { decode_json(file_get_contents($file)) } : undef;
    my $age = $kept ? time() - (stat($file))[9] : undef;
    return $kept if $kept && $age >= 0 && $age < KNOWN_FOR;

    my $shown = eval { $client->call('GET', "/volumes/$volume") };
    if (my $error = $@) {
        die $error if !$kept || !ref($error) || $error->{code} ne 'unreachable';
        return $kept;
    }
    return keep($storeid, $volume, $shown);
}

# Whether this host has used a volume since it was started.
sub known {
    my ($storeid, $volume) = @_;
    return -f _file($storeid, $volume);
}

# Keeps what the API shows of a volume; returns it as target() does.
sub keep {
    my ($storeid, $volume, $shown) = @_;

    my @portals = map { m!^iscsi://([^/]+)/! ? $1 : () } @{ $shown->{urls} };
    my ($naa) = $shown->{naa} =~ m/^(?:naa\.)?([0-9a-f]{16,32})$/ or die "volume '$volume' has no NAA name\n";
    my $target = { iqn => $shown->{iqn}, lun => int($shown->{lun}), naa => $naa, portals => \@portals };
    $target->{size} = int($shown->{size});
    mkdir($_, 0755) for $RUN, "$RUN/$storeid";
    file_set_contents(_file($storeid, $volume), encode_json($target));
    return $target;
}

sub forget {
    my ($storeid, $volume) = @_;
    unlink(_file($storeid, $volume));
    return;
}

sub _file { return "$RUN/$_[0]/$_[1].json"; }

1;
