"""What .NET, WPF and the packages hold, as far as generated code may use it."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PACKAGES: Final = {
    "CommunityToolkit.Mvvm": {"8.4.0"},
    "Microsoft.EntityFrameworkCore.Design": {"10.0.0"},
    "Microsoft.EntityFrameworkCore.Sqlite": {"10.0.0"},
    "Microsoft.Extensions.Hosting": {"10.0.0"},
    "Microsoft.NET.Test.Sdk": {"17.14.1"},
    "xunit": {"2.9.3"},
    "xunit.runner.visualstudio": {"3.1.4"},
}
"""Packages that exist, with the versions that were looked up in the registry's own pages."""

FRAMEWORK: Final = "framework"

IMPLICIT_USINGS: Final = (
    "System",
    "System.Collections.Generic",
    "System.Linq",
    "System.Threading",
    "System.Threading.Tasks",
)
"""What a WPF project imports by itself: unlike a console program, neither IO nor Net.Http."""

NAMESPACES: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "System": (
        FRAMEWORK,
        _names(
            """
            AppContext DateOnly DateTime DateTimeKind Enum Environment EventArgs EventHandler
            Exception Func IDisposable IServiceProvider Math MidpointRounding
            NotSupportedException OperationCanceledException TimeOnly TimeSpan Type
            """
        ),
    ),
    "System.Collections.Generic": (FRAMEWORK, _names("IReadOnlyList List")),
    "System.Collections.ObjectModel": (FRAMEWORK, _names("ObservableCollection")),
    "System.ComponentModel": (FRAMEWORK, _names("INotifyPropertyChanged")),
    "System.ComponentModel.DataAnnotations": (
        FRAMEWORK,
        _names(
            """
            EmailAddressAttribute PhoneAttribute RangeAttribute RequiredAttribute
            StringLengthAttribute UrlAttribute
            """
        ),
    ),
    "System.Globalization": (FRAMEWORK, _names("CultureInfo DateTimeStyles")),
    "System.IO": (FRAMEWORK, _names("Directory Path")),
    "System.Linq": (FRAMEWORK, _names("IQueryable")),
    "System.Text.RegularExpressions": (FRAMEWORK, _names("GeneratedRegexAttribute Regex")),
    "System.Threading": (FRAMEWORK, _names("CancellationToken")),
    "System.Threading.Tasks": (FRAMEWORK, _names("Task")),
    "System.Windows": (
        FRAMEWORK,
        _names(
            """
            Application DependencyObject DependencyProperty DependencyPropertyChangedEventArgs
            ExitEventArgs FrameworkElement FrameworkPropertyMetadata
            FrameworkPropertyMetadataOptions MessageBox MessageBoxButton MessageBoxImage
            MessageBoxResult PropertyMetadata StartupEventArgs Window
            """
        ),
    ),
    "System.Windows.Controls": (
        FRAMEWORK,
        _names(
            """
            NotifyDataErrorValidationRule UserControl Validation ValidationErrorEventAction
            ValidationErrorEventArgs
            """
        ),
    ),
    "System.Windows.Data": (FRAMEWORK, _names("IValueConverter ValueConversionAttribute")),
    "System.Windows.Markup": (FRAMEWORK, _names("XmlLanguage")),
    "System.Windows.Threading": (FRAMEWORK, _names("DispatcherUnhandledExceptionEventArgs")),
    "CommunityToolkit.Mvvm.ComponentModel": (
        "CommunityToolkit.Mvvm",
        _names(
            """
            NotifyCanExecuteChangedForAttribute NotifyDataErrorInfoAttribute
            NotifyPropertyChangedForAttribute ObservableObject ObservablePropertyAttribute
            ObservableValidator
            """
        ),
    ),
    "CommunityToolkit.Mvvm.Input": ("CommunityToolkit.Mvvm", _names("RelayCommandAttribute")),
    "Microsoft.Data.Sqlite": (
        "Microsoft.EntityFrameworkCore.Sqlite",
        _names("SqliteConnection SqliteConnectionStringBuilder SqliteException"),
    ),
    "Microsoft.EntityFrameworkCore": (
        "Microsoft.EntityFrameworkCore.Sqlite",
        _names(
            """
            DbContext DbContextOptions DbContextOptionsBuilder DbSet DbUpdateException
            DeleteBehavior EF IDbContextFactory IEntityTypeConfiguration ModelBuilder
            ModelConfigurationBuilder
            """
        ),
    ),
    "Microsoft.EntityFrameworkCore.Design": (
        "Microsoft.EntityFrameworkCore.Sqlite",
        _names("IDesignTimeDbContextFactory"),
    ),
    "Microsoft.EntityFrameworkCore.Metadata.Builders": (
        "Microsoft.EntityFrameworkCore.Sqlite",
        _names("EntityTypeBuilder"),
    ),
    "Microsoft.EntityFrameworkCore.Storage.ValueConversion": (
        "Microsoft.EntityFrameworkCore.Sqlite",
        _names("ValueConverter"),
    ),
    "Microsoft.Extensions.DependencyInjection": (
        "Microsoft.Extensions.Hosting",
        _names("IServiceCollection ServiceCollection"),
    ),
    "Microsoft.Extensions.Hosting": (
        "Microsoft.Extensions.Hosting",
        _names("Host HostApplicationBuilderSettings IHost"),
    ),
    "Microsoft.Extensions.Logging": ("Microsoft.Extensions.Hosting", _names("ILogger")),
    "Xunit": (
        "xunit",
        _names("Assert FactAttribute InlineDataAttribute TheoryAttribute"),
    ),
}
"""For each namespace: the package that brings it, and the types of it that may be used."""

EXTENSIONS: Final[dict[str, str]] = {
    "AddDbContextFactory": "Microsoft.Extensions.DependencyInjection",
    "AddSingleton": "Microsoft.Extensions.DependencyInjection",
    "AddTransient": "Microsoft.Extensions.DependencyInjection",
    "BuildServiceProvider": "Microsoft.Extensions.DependencyInjection",
    "GetRequiredService": "Microsoft.Extensions.DependencyInjection",
    "LogError": "Microsoft.Extensions.Logging",
    "UseSqlite": "Microsoft.EntityFrameworkCore",
    "AsNoTracking": "Microsoft.EntityFrameworkCore",
    "ExecuteDeleteAsync": "Microsoft.EntityFrameworkCore",
    "GetMigrations": "Microsoft.EntityFrameworkCore",
    "GetTableName": "Microsoft.EntityFrameworkCore",
    "Include": "Microsoft.EntityFrameworkCore",
    "IsUnique": "Microsoft.EntityFrameworkCore.Metadata.Builders",
    "Like": "Microsoft.EntityFrameworkCore",
    "MigrateAsync": "Microsoft.EntityFrameworkCore",
    "SingleOrDefaultAsync": "Microsoft.EntityFrameworkCore",
    "ToListAsync": "Microsoft.EntityFrameworkCore",
    "ToTable": "Microsoft.EntityFrameworkCore",
}
"""The namespace that must be imported to call a method."""

MEMBERS: Final = _names(
    """
    Action Add AddDbContextFactory AddErrorHandler AddRange AddSingleton AddTransient Added Any
    ApplyConfigurationsFromAssembly AsNoTracking Assembly AssumeLocal AwayFromZero BaseDirectory
    BindsTwoWayByDefault Build BuildServiceProvider CanExecute Cascade Clear Combine CompletedTask
    ConnectionString Contains Count CreateApplicationBuilder CreateDbContextAsync CreateDirectory
    CurrentCulture Database Default Dispose Empty EnsureCreated EnsureCreatedAsync Equal Error
    ErrorContent Errors EventHandler Exception Execute ExecuteAsync ExecuteDeleteAsync ExecutionTask
    ExtendedErrorCode False First FirstOrDefault FromDateTime FromResult FromSeconds Functions
    GetAwaiter GetEntityTypes GetErrors GetFolderPath GetLanguage GetMigrations GetRequiredService
    GetResult GetTableName GetValue GetValueOrDefault GetValues Handled HasConversion HasErrors
    HasForeignKey HasIndex HasMany HasMaxLength HasOne HaveConversion IetfLanguageTag Include
    InnerException InvariantCulture Invoke IsCancellationRequested IsNullOrWhiteSpace IsRequired
    IsType IsUnique LanguageProperty Length Like LocalApplicationData LogError MainWindow Max
    MaxValue Message MigrateAsync Min MinValue Model NewValue No NotEmpty NotNull Null OK OnDelete
    OnExit OnStartup Open Options OrderBy OrderByDescending OverrideMetadata Parse Properties
    Property Question RegisterAttached RemoveErrorHandler Replace Restrict Round RuleInError Run
    SaveChangesAsync Select Services Set SetCurrentValue SetNull SetValue Show Single
    SingleOrDefaultAsync SpecialFolder SpecifyKind SqliteErrorCode SqliteExtendedErrorCode
    StartAsync StopAsync ThenBy ThrowsAsync ToDateTime ToHashSet ToList ToListAsync ToLocalTime
    ToLowerInvariant ToString ToTable ToUniversalTime Today Trim True TryParse UnsetValue UseSqlite
    UsingEntity Utc UtcNow Value Where WithMany Yes YesNo
    """
)
"""Members of .NET types that follow a dot in generated code."""

INHERITED: Final = _names(
    """
    Activator ClearErrors DataContext DispatcherUnhandledException GetErrors HasErrors
    InitializeComponent MainWindow OnPropertyChanged Set Shutdown ValidateAllProperties
    """
)
"""Members of .NET base classes that generated classes use by their bare names."""

OVERRIDABLE: Final = _names("ConfigureConventions OnExit OnModelCreating OnStartup ToString")
"""Members of .NET base classes that generated classes override."""

COMMANDS: Final = _names("IAsyncRelayCommand IRelayCommand")

FRAMEWORK_MEMBERS: Final[dict[str, frozenset[str]]] = {
    "IAsyncRelayCommand": _names("IsRunning CanBeCanceled ExecutionTask"),
    "ObservableValidator": _names("HasErrors"),
    "ObservableObject": frozenset(),
    "ValidationError": _names("ErrorContent"),
    "string": _names("Length"),
}
"""What can be bound to on .NET types."""

COLLECTIONS: Final = _names("IReadOnlyList List ObservableCollection")

ELEMENTS: Final = _names(
    """
    AdornedElementPlaceholder Application BooleanToVisibilityConverter Border Button CheckBox
    ColumnDefinition ComboBox ContentControl ContentPresenter ControlTemplate DataGrid
    DataGridCheckBoxColumn DataGridTextColumn DataTemplate DatePicker DockPanel Grid ItemsControl
    KeyBinding ListBox ListBoxItem MouseBinding ProgressBar ResourceDictionary ScrollViewer Setter
    SolidColorBrush StackPanel Style TextBlock TextBox Trigger UserControl Window
    """
)
"""Elements of WPF that generated XAML uses."""

PROPERTIES: Final = _names(
    """
    AcceptsReturn AutoGenerateColumns AutomationProperties.Name Background BasedOn Binding
    BorderBrush BorderThickness Color Command Content CornerRadius Cursor DataType
    DisplayMemberPath DockPanel.Dock EnableRowVirtualization Focusable FontSize FontWeight
    Foreground Grid.Column GridLinesVisibility Header HeadersVisibility Height
    HorizontalAlignment HorizontalContentAlignment HorizontalGridLinesBrush IsChecked IsEnabled
    IsIndeterminate IsKeyboardFocused IsMouseOver IsReadOnly IsSelected IsThreeState
    ItemContainerStyle ItemsSource Key Margin MaxLength MinHeight MinWidth Modifiers MouseAction
    Opacity Orientation Padding Property RowHeight SelectedDate SelectedItem SelectedValue
    SelectedValuePath SelectionMode SelectionUnit Source Style TargetName TargetType Template Text
    TextWrapping Title ToolTip Validation.ErrorTemplate Value VerticalAlignment
    VerticalContentAlignment VerticalScrollBarVisibility Visibility Width WindowStartupLocation
    """
)
"""Properties of WPF elements that generated XAML sets."""

TWO_WAY: Final = _names("IsChecked SelectedDate SelectedItem SelectedValue")
"""Properties that WPF binds in both directions unless told otherwise."""
