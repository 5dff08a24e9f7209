# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Chap;

# The CHAP credentials of this host: kept by the daemon (encrypted) and in a file only root can read. The user is the iSCSI name.

use strict;
use warnings;

use PVE::Tools qw(file_read_firstline file_set_contents);

use Gemel::PVE::Names;

# {user, secret} of this host; the file begins with $start. They are made here when the token may do that, which is one of an
# admin: whoever can give an initiator another secret can become it. Else an admin makes them, and the message says how.
sub credentials {
    my ($client, $start, $initiator) = @_;

    my $file = "$start-" . Gemel::PVE::Names::encode($initiator) . '.chap';
    my $secret = -f $file ? file_read_firstline($file) : undef;
    return { user => $initiator, secret => $secret } if defined($secret) && $secret ne '';

    open(my $random, '<:raw', '/dev/urandom') or die "cannot read /dev/urandom: $!\n";
    my $got = read($random, my $bytes, 24);
    close($random);
    die "cannot read /dev/urandom\n" if ($got // 0) != 24;
    $secret = unpack('H*', $bytes);
    # The file first: a secret that only the daemon had would lock this host out.
    file_set_contents("$file.new", "$secret\n", 0600);
    my $chap = { user => $initiator, secret => $secret };
    eval { $client->call('PUT', "/initiators/$initiator", { chap => $chap }) };
    if (my $error = $@) {
        unlink("$file.new");
        die $error if !ref($error) || $error->{code} ne 'forbidden';
        die "this host has no CHAP secret, and the API token may not make one. As an admin: gemel initiator add $initiator"
            . " --chap-user $initiator --chap-secret-file FILE, and put the same FILE here as $file (readable by root only)\n";
    }
    rename("$file.new", $file) or die "cannot write $file: $!\n";
    return $chap;
}

1;
