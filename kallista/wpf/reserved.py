"""Names that are taken: by C#, by .NET, and by what every generated solution declares."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYWORDS: Final = _names(
    """
    abstract as base bool break byte case catch char checked class const continue decimal default
    delegate do double else enum event explicit extern false finally fixed float for foreach goto
    if implicit in int interface internal is lock long namespace new null object operator out
    override params private protected public readonly ref return sbyte sealed short sizeof
    stackalloc static string struct switch this throw true try typeof uint ulong unchecked unsafe
    ushort using virtual void volatile while
    """
)
"""The reserved keywords of C# (language reference, "C# keywords"); contextual ones may be names."""

GENERATED_TYPES: Final = _names(
    """
    App AppDbContext AppDbContextFactory AppDbContextTests CheckableChoice Choice Choices
    DataConflictException DataService DatabaseInitializer DatabaseLocation DateOnlyConverter
    DialogService EditorClosedEventArgs Entity EntityEditorViewModel EntityListViewModel
    EntityNotFoundException EnumText FixedPointConverter HumanizedConverter IDataService
    IDialogService INavigationService InputErrors LocalTimeConverter MainViewModel
    MainViewModelTests MainWindow NavigationItem NavigationService NavigationServiceTests
    PageViewModel RecordingDialogs RecordingNavigation Samples ServiceRegistration
    TestDatabase UtcConverter
    """
)
"""The types that every generated solution declares, whatever its design."""

FRAMEWORK_TYPES: Final = _names(
    """
    Action Activator AggregateException AppContext AppDomain ApplicationException ArgumentException
    ArgumentNullException Array Assert AsyncRelayCommand Attribute Barrier BaseRelayCommand Boolean
    Buffer Byte CancellationToken CancellationTokenSource Char Collection CommunityToolkit Comparer
    Comparison Console Convert CultureInfo DataType DateOnly DateTime DateTimeKind DateTimeOffset
    DateTimeStyles DayOfWeek DbContext DbContextOptions DbContextOptionsBuilder DbSet
    DbUpdateConcurrencyException DbUpdateException Debug Decimal Delegate DeleteBehavior Dictionary
    Double EF EntityTypeBuilder Enum Enumerable Environment EventArgs EventHandler Exception
    ExecutionContext Fact Func GC Guid HashCode HashSet IAsyncDisposable IAsyncRelayCommand
    ICollection IComparable IDbContextFactory IDesignTimeDbContextFactory IDisposable
    IEntityTypeConfiguration IEnumerable IList IProgress IQueryable IReadOnlyCollection
    IReadOnlyList IRelayCommand IServiceCollection IServiceProvider Index Int16 Int32 Int64
    Interlocked InvalidOperationException KeyAttribute KeyValuePair Lazy LinkedList List Lock Lookup
    Math Memory Microsoft MidpointRounding MigrationBuilder ModelBuilder ModelConfigurationBuilder
    Monitor Mutex NotSupportedException Nullable Object ObservableCollection ObservableObject
    ObservableProperty ObservableRecipient ObservableValidator OperatingSystem
    OperationCanceledException OrderedDictionary Overlapped Parallel PeriodicTimer PriorityQueue
    Progress PropertyBuilder Queryable Queue Random Range RelayCommand Required RequiredAttribute
    Semaphore SemaphoreSlim ServiceCollection ServiceLifetime ServiceProvider Single
    SortedDictionary SortedList SortedSet Span SpinLock SpinWait SqliteConnection
    SqliteConnectionStringBuilder SqliteException Stack String StringComparer StringComparison
    StringLength System Task TaskCompletionSource TaskFactory TaskScheduler Theory Thread
    ThreadLocal ThreadPool ThreadState TimeOnly TimeProvider TimeSpan TimeZone TimeZoneInfo Timeout
    TimeoutException Timer Timestamp Tuple Type TypeCode UIntPtr Uri UriBuilder ValidationAttribute
    ValidationContext ValidationException ValidationResult Validator ValueConverter ValueTask
    ValueTuple ValueType Version Void Volatile WeakReference Windows Xunit
    """
)
"""Types of .NET in namespaces that are imported where entities and enums are used."""

OTHER_FRAMEWORK_NAMES: Final = _names(
    """
    Application Assembly Binding Brush Button CancelEventArgs CheckBox ComboBox Component Container
    Control DataGrid DataTemplate DependencyObject DependencyProperty
    DependencyPropertyChangedEventArgs Directory Dispatcher DispatcherObject
    DispatcherUnhandledExceptionEventArgs ExitEventArgs File FileInfo Frame FrameworkElement
    FrameworkPropertyMetadata FrameworkPropertyMetadataOptions Grid Host HostApplicationBuilder
    HostApplicationBuilderSettings HostOptions ICommand IHost IHostApplicationBuilder ILogger
    INotifyPropertyChanged IValueConverter Image JsonSerializer Label License LicenseContext
    LicenseManager ListBox ListView MemberInfo Menu MessageBox MessageBoxButton MessageBoxImage
    MessageBoxResult NavigationEventArgs NotifyDataErrorValidationRule Page Path Popup
    PropertyChangedEventArgs PropertyChangedEventHandler PropertyMetadata ReadOnly Regex
    ResourceDictionary RoutedEventArgs Setter StartupEventArgs Style TextBlock TextBox ToolTip
    Trigger TypeConverter TypeDescriptor UIElement UserControl Validation ValidationErrorEventAction
    ValidationErrorEventArgs ValidationRule Visibility Visual Window WindowState XmlLanguage
    """
)
"""Types and namespaces of .NET that an entity does not hide, but a part of a namespace would."""

DB_CONTEXT_MEMBERS: Final = _names(
    """
    Add AddAsync AddRange AddRangeAsync Attach AttachRange ChangeTracker ContextId Database Dispose
    DisposeAsync Entry Equals Find FindAsync FromExpression GetHashCode GetType Model Remove
    RemoveRange SaveChanges SaveChangesAsync Set ToString Update UpdateRange ConfigureConventions
    OnConfiguring OnModelCreating MemberwiseClone Finalize ReferenceEquals
    """
)
"""What a DbContext already has; a set of entities cannot be called that."""

ENTITY_MEMBERS: Final = _names(
    """
    Id DisplayName Equals Finalize GetHashCode GetType MemberwiseClone ReferenceEquals ToString
    """
)
"""What every entity already has."""

EDITOR_MEMBERS: Final = _names(
    """
    CancelCommand CanSave Cancel ClearAllErrors ClearErrors Closed EditorTitle EntityId Equals
    ErrorsChanged Finalize GetErrors GetHashCode GetType HasErrors InputErrorCount IsNew
    LoadOptionsAsync MemberwiseClone Noun OnPropertyChanged OnPropertyChanging PropertyChanged
    PropertyChanging ReadFrom ReferenceEquals SaveAsync SaveCommand SaveProblem Service
    SetProperty SetPropertyAndNotifyOnCompletion StartAsync ToString TrySetProperty
    ValidateAllProperties ValidateProperty WriteTo
    """
)
"""What every form's view model already has."""

STATIC_NAMES: Final = frozenset(["Choices", "DateOnly", "DateTime", "Enum", "EnumText"])
"""Types whose static members the code of an entity or its form uses: no member may hide them."""
