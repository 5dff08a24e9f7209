# Calls Gemel::PVE::Host as the storage plugin does; what it runs is run.
use strict;
use warnings;
use lib '/perl';
use Gemel::PVE::Host;

my $target = { iqn => $ENV{IQN}, naa => $ENV{NAA}, portals => [split(/ /, $ENV{PORTALS})] };
my $chap = { user => $ENV{CHAP_USER}, secret => $ENV{CHAP_SECRET} };
my %work = (
    attach => sub { print Gemel::PVE::Host::attach($target, 1, $chap), "\n" },
    stranger => sub { eval { Gemel::PVE::Host::attach($target, 1, { %$chap, secret => 'not-the-secret-1' }) }; print $@ },
    attached => sub { print 'attached: ', Gemel::PVE::Host::attached($target), "\n" },
    resized => sub { Gemel::PVE::Host::resized($target, 1) },
    detach => sub { Gemel::PVE::Host::detach($target, 1) },
    'failing-detach' => sub { eval { Gemel::PVE::Host::detach($target, 1) }; print $@ },
);
$work{ $ARGV[0] }->();
